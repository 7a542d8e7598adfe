// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Makes the samples of ranges on a device, and batches of them there.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/data/collation.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "device_transfer.hpp"

namespace bunchtrain::data {

class Staging;
struct DevicePlan;

/// A batch whose tensors of the device have to be gathered.
struct DeviceGather {
  struct Rows {
    std::string name;
    std::vector<std::int64_t> sizes;  ///< of the batch's tensor
    at::ScalarType type;
    std::int64_t element_bytes;
    bool by_elements;  ///< else a row is one element
  };
  std::vector<Rows> tensors = {};
  std::int64_t samples = 0;
  std::int64_t elements = 0;
  std::int64_t length = 0;  ///< of padded samples; 0: one behind another
};

/// Bytes go into slabs of the device as they are stored, columns and batches are made of them by kernels. All of it is enqueued on
/// the stream of the transfer, so that memory which a batch is gathered from is not used again before that. Implemented in
/// cuda/ and in stub/. Thread-safe.
class DeviceDecoding {
 public:
  /// @param transfer lives longer. @param like a block without samples, whose tensors lie on the host.
  /// @throws NotBuiltError in a build without CUDA
  DeviceDecoding(DatasetPtr dataset, c10::Device device, const DeviceTransfer& transfer, SampleBlock like);
  ~DeviceDecoding();
  DeviceDecoding(const DeviceDecoding&) = delete;
  DeviceDecoding& operator=(const DeviceDecoding&) = delete;

  /// A range with its tensors of the device there, by its plan. Nothing if the host has to read it: bytes that did not come, or a value that
  /// is not finite; it knows the words. @throws DeviceError for a device without memory
  std::optional<SampleBlock> read(std::size_t range, const DevicePlan& plan, const Staging* staging,
                                  LoaderStatistics& spent) const;
  /// A block that the host has made, as if it were one of the device.
  SampleBlock bring(SampleBlock block) const;
  /// What is to be gathered for a batch. Adds to `host`, which collation has made, tables that travel with it.
  DeviceGather prepare(std::span<const CollatedSample> samples, NamedTensors& host,
                       const AllocateTensor& allocate) const;
  /// Enqueues the gathering, for `DeviceTransfer::start`: takes the tables away and adds the tensors.
  void gather(const DeviceGather& of, NamedTensors& on_device) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::data
