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

}  // namespace

at::ScalarType scalar_type_of(Dtype dtype) noexcept { return kScalarTypes[static_cast<std::size_t>(dtype)]; }

Dtype dtype_of(const at::Tensor& tensor, std::string_view what) {
  const auto found =
      tensor.defined() ? std::ranges::find(kScalarTypes, tensor.scalar_type()) : kScalarTypes.end();
  if (found == kScalarTypes.end() || tensor.layout() != at::kStrided)
    throw CheckpointError(fmt::format("{} is {}; dense tensors of {} can be stored", what,
                                      tensor.defined() ? tensor.toString() : std::string("undefined"),
                                      detail::dtype_names()));
  return static_cast<Dtype>(found - kScalarTypes.begin());
}

SafeTensors read_safetensors(const std::filesystem::path& path) { return read_all(SafeTensorsFile(path)); }

SafeTensors parse_safetensors(std::span<const std::byte> bytes, std::string_view origin) {
  return read_all(SafeTensorsFile(bytes, origin));
}

WrittenFile write_safetensors(const std::filesystem::path& path, const SafeTensors& content) {
  std::vector<at::Tensor> kept;  // while their bytes are written
  std::vector<TensorBytes> tensors;
  for (const NamedTensors::Entry& entry : content.tensors) {
    const Dtype dtype =
        dtype_of(entry.tensor, fmt::format("cannot write {}: tensor '{}'", path.string(), entry.name));
    const at::Tensor& tensor = kept.emplace_back(entry.tensor.detach().to(at::kCPU).contiguous());
    tensors.push_back({.name = entry.name,
                       .dtype = dtype,
                       .shape = tensor.sizes().vec(),
                       .bytes = bytes_of_tensor(tensor)});
  }
  return write_safetensors_file(path, tensors, content.metadata);
}

}  // namespace bunchtrain::weights
