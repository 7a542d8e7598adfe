// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A trained generator as a source of showers.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/models/3dgan/generator.hpp"
#include "bunchtrain/models/calo_diffusion.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/tasks/shower_comparison/validate_showers.hpp"

namespace bunchtrain::shower_simulation {

/// Primary energies between which a network was trained, GeV.
struct EnergyRange {
  double lowest = 0;
  double highest = 0;
};

struct ShowerSourceOptions {
  c10::Device device = c10::kCPU;
  device::Precision precision = device::Precision::float32;
  std::uint64_t seed = 1;           ///< shower i is a function of (weights, seed, i, its energy and angle)
  std::string checkpoint = "best";  ///< of a run folder: "best", "latest" or one by its name ("step-000042")
  bool averaged = true;             ///< the averaged weights of a run that has them (`--ema`)
  models::DiffusionSamplingOptions sampling = {};  ///< of a diffusion model
};

/// Makes showers in GeV. Not thread-safe.
class ShowerSource {
 public:
  /// @param path a run folder or a bundle of 3DGAN or calo-diffusion, a safetensors file or a Keras weight file of 3DGAN's
  /// generator; of a file the variant is told by its shapes. @throws ConfigError; CheckpointError for a bundle of another
  /// network.
  static ShowerSource open(const std::string& path, const ShowerSourceOptions& options = {});
  explicit ShowerSource(models::ShowerGenerator generator, const ShowerSourceOptions& options = {});
  explicit ShowerSource(models::CaloDiffusion network, const ShowerSourceOptions& options = {});

  /// Cells in GeV, [B, X, Y, Z] float32 on the CPU.
  /// @param showers [B] int64: numbers of the showers, which key their noise. @param energy [B] GeV.
  /// @param theta [B] rad, needed for variable angle. @throws CheckpointError for showers that are no numbers
  at::Tensor make(const at::Tensor& showers, const at::Tensor& energy, const at::Tensor& theta = {});
  const std::array<std::int64_t, 3>& cells() const noexcept { return cells_; }  ///< along x, y, z
  bool needs_theta() const noexcept { return needs_theta_; }
  /// Whether showers are made in the steps of `ShowerSourceOptions::sampling`.
  bool is_sampled() const noexcept { return is_sampled_; }
  /// "3DGAN", "calo-diffusion".
  const std::string& network() const noexcept { return network_; }
  /// Known for runs and bundles only.
  const std::optional<EnergyRange>& trained_energies() const noexcept { return trained_energies_; }

 private:
  /// [B, X, Y, Z] GeV of keyed noise, energies and angles, all on the CPU.
  using Maker = std::function<at::Tensor(const nn::StepContext& noise, const at::Tensor& energy,
                                         const at::Tensor& theta)>;

  ShowerSourceOptions options_;
  std::string network_;
  std::array<std::int64_t, 3> cells_;
  bool needs_theta_, is_sampled_;
  Maker maker_;
  std::optional<EnergyRange> trained_energies_;
};

/// Opens generators for a comparison: `ValidateShowersOptions::open_generator`.
shower_comparison::OpenGenerator open_generator(const ShowerSourceOptions& options);

}  // namespace bunchtrain::shower_simulation
