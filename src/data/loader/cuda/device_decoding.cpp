// SPDX-License-Identifier: Apache-2.0
#include "../device_decoding.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <utility>

#include "../decoding_device.hpp"
#include "../device_slabs.hpp"
#include "../reading.hpp"
#include "../row_bytes.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/detail/device_plan.hpp"
#include "bunchtrain/data/staging.hpp"
#include "bunchtrain/device/detail/current_stream.hpp"
#include "bunchtrain/ops/detail/column_launch.cuh"
#include "io/slab.hpp"

namespace bunchtrain::data {
namespace {

constexpr std::string_view kTable = "rows of ", kSplits = "splits of rows";  // names that no tensor has

/// Of a table that travels with a batch.
std::string table_of(const std::string& name) { return std::string(kTable) + name; }

bool is_table(std::string_view name) { return name.starts_with(kTable) || name == kSplits; }

}  // namespace

struct DeviceDecoding::Impl {
  DatasetPtr dataset;
  c10::Device device;
  const DeviceTransfer& transfer;
  SampleBlock like;
  std::vector<std::string> tensors;  // of the device
  std::span<const std::string> ragged;
  mutable DeviceSlabs slabs;

  Impl(DatasetPtr of, c10::Device where, const DeviceTransfer& by, SampleBlock without_samples)
      : dataset(std::move(of)),
        device(where),
        transfer(by),
        like(std::move(without_samples)),
        tensors(dataset->device_support().tensors),
        ragged(dataset->ragged()),
        slabs(device_slab_memory(where)) {}

  bool is_ragged(const std::string& name) const { return std::ranges::find(ragged, name) != ragged.end(); }
  void fetch(const ReadPlan& plan, std::span<std::byte> out) const;
  void put_together(const DevicePlan& plan, std::span<std::byte> bytes) const;
  SampleBlock read(std::size_t range, const DevicePlan& plan, const Staging* staging,
                   LoaderStatistics& spent) const;
};

DeviceDecoding::DeviceDecoding(DatasetPtr dataset, c10::Device device, const DeviceTransfer& transfer,
                               SampleBlock like)
    : impl_(std::make_unique<Impl>(std::move(dataset), device, transfer, std::move(like))) {}
DeviceDecoding::~DeviceDecoding() = default;

/// Straight into the slab where an engine can for all of it, else through page-locked memory, in one copy.
void DeviceDecoding::Impl::fetch(const ReadPlan& plan, std::span<std::byte> out) const {
  if (out.empty()) return;
  const io::Engine* direct = direct_engine(device, *plan.pieces.front().source);
  const auto same = [&](const Piece& piece) { return direct_engine(device, *piece.source) == direct; };
  if (direct != nullptr && std::ranges::all_of(plan.pieces, same)) return io::fetch_by(*direct, plan, out);
  const auto bytes = static_cast<std::int64_t>(out.size());
  const at::Tensor host = transfer.allocate({bytes}, at::kByte);
  io::fetch(plan, std::as_writable_bytes(std::span(host.mutable_data_ptr<std::uint8_t>(), out.size())));
  transfer.run([&] {
    at::from_blob(out.data(), {bytes}, at::TensorOptions().dtype(at::kByte).device(device))
        .copy_(host);  // and waits: what follows may fail, and then the slab is somebody else's
  });
}

/// Undoes the shuffle filter, behind the bytes that were fetched. @pre the stream is that of the transfer
void DeviceDecoding::Impl::put_together(const DevicePlan& plan, std::span<std::byte> bytes) const {
  if (plan.shuffled.empty()) return;
  std::vector<ops::detail::ShuffledBlock> blocks = plan.shuffled;
  const at::Tensor on_device =
      at::from_blob(blocks.data(), {static_cast<std::int64_t>(std::span(blocks).size_bytes())}, at::kByte)
          .to(device);  // and waits
  const auto longest = std::ranges::max(blocks, {}, &ops::detail::ShuffledBlock::bytes);
  auto* stored = reinterpret_cast<std::uint8_t*>(bytes.data());
  ops::detail::launch_unshuffle(
      {.bytes = stored,
       .blocks = reinterpret_cast<const ops::detail::ShuffledBlock*>(on_device.const_data_ptr()),
       .count = std::ssize(blocks),
       .most_bytes = longest.bytes()},
      stored + plan.to_device.bytes(), static_cast<cudaStream_t>(device::current_stream(device)));
}

/// @throws what reading throws, and DataError for values that the host has to look at
SampleBlock DeviceDecoding::Impl::read(std::size_t range, const DevicePlan& plan, const Staging* staging,
                                       LoaderStatistics& spent) const {
  const auto redirected = [&](const ReadPlan& wanted) {
    auto staged = staging != nullptr ? staging->redirect(wanted) : std::nullopt;
    return staged ? std::move(*staged) : StagedPlan{.plan = wanted, .copies = {}};
  };
  const StagedPlan to_device = redirected(plan.to_device), to_host = redirected(plan.to_host);
  thread_local io::Slab host_slab;
  const std::size_t stored = plan.to_device.bytes();
  const DeviceSlabs::Use slab(slabs, stored + plan.put_together_bytes());
  const PlannedBytes on_host = timed(spent.fetch_seconds, [&] {
    fetch(to_device.plan, slab.bytes().first(stored));
    return host_slab.fetch(plan.to_host, to_host.plan);
  });
  spent.bytes_fetched += static_cast<std::int64_t>(plan.to_device.bytes() + plan.to_host.bytes());
  require_unchanged(to_device.plan, ByteSource::Look::now_and_then);
  require_unchanged(to_host.plan, ByteSource::Look::now_and_then);
  return timed(spent.decode_seconds, [&] {
    std::optional<SampleBlock> block;
    transfer.run([&] {
      put_together(plan, slab.bytes());
      block = dataset->decode_on_device(
          range, plan, {.on_device = slab.bytes().data(), .device = device, .on_host = on_host});
    });
    if (!block) throw DataError("a value is not finite");
    return std::move(*block);
  });
}

std::optional<SampleBlock> DeviceDecoding::read(std::size_t range, const DevicePlan& plan,
                                                const Staging* staging, LoaderStatistics& spent) const {
  try {
    return impl_->read(range, plan, staging, spent);
  } catch (const DataError&) {
    return std::nullopt;  // the host finds the same, and says what and where
  } catch (const IoError&) {
    return std::nullopt;
  }
}

SampleBlock DeviceDecoding::bring(SampleBlock block) const {
  impl_->transfer.run([&] {
    for (const std::string& name : impl_->tensors)
      block.tensors.set(name, block.tensors[name].contiguous().to(impl_->device));
  });
  return block;
}

DeviceGather DeviceDecoding::prepare(std::span<const CollatedSample> samples, NamedTensors& host,
                                     const AllocateTensor& allocate) const {
  DeviceGather of{.samples = std::ssize(samples)};
  const at::Tensor* padding =
      impl_->ragged.empty() || host.contains(kRowSplits) ? nullptr : host.find("mask");
  if (padding != nullptr) of.length = padding->size(1);
  at::Tensor splits = allocate({of.samples + 1}, at::kLong);
  auto* end = splits.mutable_data_ptr<std::int64_t>();
  *end = 0;
  for (const CollatedSample& sample : samples) {
    const std::int64_t taken = of.length > 0 ? std::min(sample.elements, of.length) : sample.elements;
    of.elements += taken;
    end[1] = *end + taken;
    ++end;
  }
  host.set(std::string(kSplits), std::move(splits));
  for (const std::string& name : impl_->tensors) {
    const at::Tensor& like = impl_->like.tensors[name];
    const std::int64_t bytes = row_bytes(like);
    const bool by_elements = impl_->is_ragged(name);
    at::Tensor rows = allocate({of.samples}, at::kLong);
    auto* address = rows.mutable_data_ptr<std::int64_t>();
    for (const CollatedSample& sample : samples) {
      const auto* first = static_cast<const std::byte*>(sample.block->tensors[name].const_data_ptr());
      *address++ =
          reinterpret_cast<std::intptr_t>(first) + bytes * (by_elements ? sample.first_element : sample.row);
    }
    host.set(table_of(name), std::move(rows));
    std::vector<std::int64_t> sizes = like.sizes().vec();
    sizes[0] = by_elements && of.length == 0 ? of.elements : of.samples;
    if (by_elements && of.length > 0) sizes.insert(sizes.begin() + 1, of.length);
    of.tensors.push_back({.name = name,
                          .sizes = std::move(sizes),
                          .type = like.scalar_type(),
                          .element_bytes = bytes,
                          .by_elements = by_elements});
  }
  return of;
}

void DeviceDecoding::gather(const DeviceGather& of, NamedTensors& on_device) const {
  NamedTensors batch;
  for (const auto& [name, tensor] : on_device)
    if (!is_table(name)) batch.set(name, tensor);
  const auto options = at::TensorOptions().device(impl_->device);
  const auto stream = static_cast<cudaStream_t>(device::current_stream(impl_->device));
  for (const DeviceGather::Rows& rows : of.tensors) {
    const at::Tensor out = at::empty(rows.sizes, options.dtype(rows.type));
    const auto* begins =
        reinterpret_cast<const std::uint8_t* const*>(on_device[table_of(rows.name)].const_data_ptr());
    auto* bytes = static_cast<std::uint8_t*>(out.mutable_data_ptr());
    ops::detail::ElementRows from{.element_bytes = rows.element_bytes,
                                  .begins = begins,
                                  .splits = on_device[kSplits].const_data_ptr<std::int64_t>(),
                                  .rows = of.samples};
    if (!rows.by_elements) {
      ops::detail::launch_gather_rows(from, bytes, stream);
    } else if (of.length == 0) {
      ops::detail::launch_gather_ragged(from, of.elements, bytes, stream);
    } else {
      ops::detail::launch_gather_padded(from, of.length, bytes, nullptr, stream);
    }
    batch.set(rows.name, out);
  }
  on_device = std::move(batch);
}

}  // namespace bunchtrain::data
