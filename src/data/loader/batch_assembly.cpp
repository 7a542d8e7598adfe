// SPDX-License-Identifier: Apache-2.0
#include "batch_assembly.hpp"

#include <algorithm>
#include <exception>
#include <string>
#include <utility>

namespace bunchtrain::data {

BatchAssembly::BatchAssembly(std::shared_ptr<const LoaderPlan> plan, const DeviceTransfer& transfer,
                             const DeviceDecoding* decoding, BadData on_bad)
    : plan_(std::move(plan)), transfer_(transfer), decoding_(decoding), on_bad_(on_bad) {}

void BatchAssembly::sort_out_bad(PlannedBatch& planned) const {
  if (std::ranges::all_of(planned.chunks, [](const LoaderChunk* chunk) { return chunk->bad.empty(); }))
    return;
  const auto is_bad = [&](std::size_t sample) {
    return std::ranges::any_of(planned.chunks, [&](const LoaderChunk* chunk) {
      return !chunk->bad.empty() && planned.samples[sample].block == &chunk->block;
    });
  };
  std::size_t kept = 0;
  for (std::size_t i = 0; i < planned.samples.size(); ++i) {
    const bool bad = is_bad(i);
    planned.batch.bad_samples += bad ? 1 : 0;
    if (bad && on_bad_ == BadData::leave_out) {
      planned.batch.elements -= plan_->taken().of(planned.ids[i]);
      continue;
    }
    planned.samples[kept] = planned.samples[i];
    planned.ids[kept++] = planned.ids[i];
  }
  planned.samples.resize(kept);
  planned.ids.resize(kept);
}

void BatchAssembly::assemble(PlannedBatch& planned) const {
  for (const LoaderChunk* chunk : planned.chunks)
    if (chunk->error) std::rethrow_exception(chunk->error);
  const AllocateTensor allocate = [this](at::IntArrayRef sizes, at::ScalarType type) {
    return transfer_.allocate(sizes, type);
  };
  NamedTensors host = plan_->collate(planned.samples, allocate);
  plan_->mark_elements(planned.batch, host, planned.ids);
  planned.slots = plan_->padded_slots(host);
  at::Tensor ids = allocate({static_cast<std::int64_t>(planned.ids.size())}, at::kLong);
  std::copy(planned.ids.begin(), planned.ids.end(), ids.mutable_data_ptr<std::int64_t>());
  host.set(std::string(kSampleIds), std::move(ids));
  if (decoding_ == nullptr) {
    planned.pending = transfer_.start(std::move(host));
    return;
  }
  const DeviceGather of = decoding_->prepare(planned.samples, host, allocate);
  planned.pending =
      transfer_.start(std::move(host), [&](NamedTensors& tensors) { decoding_->gather(of, tensors); });
}

Batch BatchAssembly::deliver(PlannedBatch& planned) const {
  Batch batch = std::move(planned.batch);
  for (auto& [name, tensor] : transfer_.finish(std::move(planned.pending))) {
    if (name == kSampleIds) {
      batch.sample_ids = tensor;
    } else {
      batch.tensors.set(name, tensor);
    }
  }
  return batch;
}

std::int64_t BatchAssembly::bytes_of(const PlannedBatch& planned) const {
  return plan_->bytes_of_batch(static_cast<std::int64_t>(planned.samples.size()), planned.batch.elements);
}

}  // namespace bunchtrain::data
