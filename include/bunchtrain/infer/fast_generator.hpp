// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A 3DGAN generator inside another program, without LibTorch: latent vectors in, images of showers out.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "bunchtrain/models/3dgan/variant.hpp"

namespace bunchtrain::infer {
inline namespace v0_1 {

/// The generator of a bundle, either variant, in float32. Batch norms are folded, layers behind an upsampling convolve the
/// small image. Images are those of `Predictor`'s plain engine to 1e-5 of the image's largest cell, and the same bits
/// in whatever batches and on however many threads.
///
/// Immutable: any number of threads may call `run` at once, each with a scratch of its own, and each does all of its
/// work itself; copies share the weights. Errors are bunchtrain::Error, and std::bad_alloc.
class FastGenerator {
 public:
  /// Memory of one caller, one thread at a time.
  class Scratch {
   public:
    Scratch(Scratch&&) noexcept;
    Scratch& operator=(Scratch&&) noexcept;
    ~Scratch();
    std::size_t bytes() const noexcept;

   private:
    friend class FastGenerator;
    struct Impl;
    explicit Scratch(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
  };

  /// Reads a bundle: once per process.
  /// @throws CheckpointError for a bundle that is missing, damaged, newer, of another network than a 3DGAN generator or in
  /// double precision.
  static FastGenerator load(const std::filesystem::path& bundle);

  /// Whether a bundle is of a 3DGAN generator. @throws CheckpointError for one that is missing, damaged, newer.
  static bool knows(const std::filesystem::path& bundle);

  models::ShowerVariant variant() const noexcept;
  std::int64_t latent_size() const noexcept;  ///< L, `models::latent_size`
  std::int64_t image_size() const noexcept;   ///< X Y Z, `models::shower_shape`
  /// Hash of the bundle.
  const std::string& hash() const noexcept;

  Scratch make_scratch() const;

  /// Images [count, X, Y, Z] in units of `models::image_scale` and to the power `models::image_power`, of latent vectors
  /// [count, L] (`models::make_latent`: noise times energy / 100 GeV, or energy / 100 GeV, theta, noise). Allocates
  /// nothing.
  /// @throws ConfigError for latents that are no vectors, images of another size, a scratch of another generator.
  void run(std::span<const float> latents, std::span<float> images, Scratch& scratch) const;

 private:
  struct Impl;
  explicit FastGenerator(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

}  // namespace v0_1
}  // namespace bunchtrain::infer
