// SPDX-License-Identifier: Apache-2.0
#include "../device_decoding.hpp"

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::data {

struct DeviceDecoding::Impl {};

DeviceDecoding::DeviceDecoding(DatasetPtr, c10::Device, const DeviceTransfer&, SampleBlock) {
  throw NotBuiltError("decoding samples on a GPU", "BUNCHTRAIN_CUDA");
}
DeviceDecoding::~DeviceDecoding() = default;

// There is no object to call these on.
std::optional<SampleBlock> DeviceDecoding::read(std::size_t, const DevicePlan&, const Staging*,
                                                LoaderStatistics&) const {
  return std::nullopt;
}
SampleBlock DeviceDecoding::bring(SampleBlock block) const { return block; }
DeviceGather DeviceDecoding::prepare(std::span<const CollatedSample>, NamedTensors&,
                                     const AllocateTensor&) const {
  return {};
}
void DeviceDecoding::gather(const DeviceGather&, NamedTensors&) const {}

}  // namespace bunchtrain::data
