// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/weights/safetensors.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "bunchtrain/core/error.hpp"
#include "safetensors/dtypes.hpp"

namespace bunchtrain::weights {
namespace {

using c10::ScalarType;

/// In the order of Dtype.
constexpr std::array<ScalarType, 10> kScalarTypes = {
    ScalarType::Double, ScalarType::Float, ScalarType::Half, ScalarType::BFloat16, ScalarType::Long,
    ScalarType::Int,    ScalarType::Short, ScalarType::Char, ScalarType::Byte,     ScalarType::Bool};

ScalarType scalar_type_of(Dtype dtype) noexcept { return kScalarTypes[static_cast<std::size_t>(dtype)]; }

std::span<std::byte> bytes_of_tensor(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()};
}

SafeTensors read_all(const SafeTensorsFile& file) {
  SafeTensors content{.tensors = {}, .metadata = file.metadata()};
  for (const TensorEntry& entry : file.entries()) {
    at::Tensor tensor = at::empty(entry.shape, scalar_type_of(entry.dtype));
    file.read(entry, bytes_of_tensor(tensor));
    content.tensors.set(entry.name, std::move(tensor));
  }
  return content;
}

/// On the CPU and contiguous. @throws CheckpointError if its kind cannot be stored.
at::Tensor storable(const NamedTensors::Entry& entry, std::string_view origin) {
  const at::Tensor& tensor = entry.tensor;
  if (!tensor.defined() || tensor.layout() != at::kStrided ||
      std::ranges::find(kScalarTypes, tensor.scalar_type()) == kScalarTypes.end()) {
    throw CheckpointError(fmt::format(
        "cannot write {}: tensor '{}' is {}; dense tensors of {} can be stored", origin, entry.name,
        tensor.defined() ? tensor.toString() : std::string("undefined"), detail::dtype_names()));
  }
  return tensor.detach().to(at::kCPU).contiguous();
}

Dtype dtype_of(const at::Tensor& tensor) noexcept {
  return static_cast<Dtype>(std::ranges::find(kScalarTypes, tensor.scalar_type()) - kScalarTypes.begin());
}

}  // namespace

SafeTensors read_safetensors(const std::filesystem::path& path) { return read_all(SafeTensorsFile(path)); }

SafeTensors parse_safetensors(std::span<const std::byte> bytes, std::string_view origin) {
  return read_all(SafeTensorsFile(bytes, origin));
}

WrittenFile write_safetensors(const std::filesystem::path& path, const SafeTensors& content) {
  std::vector<at::Tensor> kept;  // while their bytes are written
  std::vector<TensorBytes> tensors;
  for (const NamedTensors::Entry& entry : content.tensors) {
    const at::Tensor& tensor = kept.emplace_back(storable(entry, path.string()));
    tensors.push_back({.name = entry.name,
                       .dtype = dtype_of(tensor),
                       .shape = tensor.sizes().vec(),
                       .bytes = bytes_of_tensor(tensor)});
  }
  return write_safetensors_file(path, tensors, content.metadata);
}

}  // namespace bunchtrain::weights
