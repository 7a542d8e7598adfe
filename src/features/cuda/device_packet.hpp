// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Small arrays of the host that a kernel reads.

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace bunchtrain::features::detail {

/// They are brought to the device together, on the current stream. Not thread-safe.
class DevicePacket {
 public:
  /// @return its place, for `at`
  template <class T>
  std::size_t add(std::span<const T> values) {
    const std::size_t place = (bytes_.size() + kAlignment - 1) / kAlignment * kAlignment;
    bytes_.resize(place + values.size_bytes());
    if (!values.empty()) std::memcpy(bytes_.data() + place, values.data(), values.size_bytes());
    return place;
  }
  /// Returns when the host's arrays are needed no more.
  void send(c10::Device device) {
    const auto count = static_cast<std::int64_t>(bytes_.size());
    on_device_ = at::empty({count}, at::TensorOptions().dtype(at::kByte).device(device));
    on_device_.copy_(at::from_blob(bytes_.data(), {count}, at::TensorOptions().dtype(at::kByte)));
  }
  /// @pre it was sent; lives as long as this
  template <class T>
  const T* at(std::size_t place) const {
    return reinterpret_cast<const T*>(on_device_.const_data_ptr<std::uint8_t>() + place);
  }

 private:
  static constexpr std::size_t kAlignment = 16;
  std::vector<std::uint8_t> bytes_;
  at::Tensor on_device_;
};

}  // namespace bunchtrain::features::detail
