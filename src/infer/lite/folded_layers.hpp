// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Layers as inference uses them, batch norms folded and matrices transposed, and how they are read.

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "bunchtrain/weights/safetensors_file.hpp"
#include "rows/cpu/affine.hpp"
#include "rows/cpu/row_products.hpp"

namespace bunchtrain::infer::detail {

/// A linear layer, with the batch norm behind it if there is one.
struct FoldedLinear {
  std::vector<float> weight;  ///< [in, out]
  std::vector<float> bias;    ///< [out]
  std::int64_t in = 0, out = 0;
  bool relu = false;
  bool skips_zeros = false;  ///< its input is behind a ReLU
};

/// The same in the order of the loops that run it.
struct PackedLinear {
  PackedLinear() = default;
  explicit PackedLinear(const FoldedLinear& layer)
      : panels(ops::detail::pack_panels(layer.weight.data(), layer.bias.data(), layer.in, layer.out)),
        in(layer.in),
        out(layer.out),
        relu(layer.relu),
        skips_zeros(layer.skips_zeros) {}

  ops::detail::RowProduct product() const noexcept {
    return {.panels = panels.data(), .in = in, .out = out, .relu = relu, .skips_zeros = skips_zeros};
  }

  ops::detail::AlignedFloats panels;
  std::int64_t in = 0, out = 0;
  bool relu = false, skips_zeros = false;
};

/// A batch norm that is not folded: y = x * scale + shift.
struct FoldedNorm {
  std::vector<float> scale, shift;

  ops::detail::Affine<float> affine() const noexcept { return {scale.data(), shift.data()}; }
};

/// The tensors of a safetensors file, each taken once. All throw CheckpointError.
class WeightReader {
 public:
  explicit WeightReader(const std::filesystem::path& path);

  /// A float32 tensor of finite numbers. @param shape without trailing dimensions of size 1.
  std::vector<float> take(const std::string& name, std::vector<std::int64_t> shape);
  /// Numbers of batches, which training alone counts, may be left.
  void require_all_taken() const;

 private:
  [[noreturn]] void refuse(const std::string& what) const;

  std::string path_;
  weights::SafeTensorsFile file_;
  std::set<std::string> taken_;
};

inline constexpr double kNormEpsilon = 1e-5;  ///< of nn::BatchNorm

FoldedNorm read_norm(WeightReader& reader, const std::string& name, std::int64_t channels,
                     double epsilon = kNormEpsilon);
/// [out, in] as modules keep it, to [in, out]; biases of 0.
FoldedLinear transposed(const std::vector<float>& weight, std::int64_t in, std::int64_t out);
FoldedLinear read_linear(WeightReader& reader, const std::string& name, std::int64_t in, std::int64_t out);

}  // namespace bunchtrain::infer::detail
