// SPDX-License-Identifier: Apache-2.0
#include "reading.hpp"

#include <cerrno>
#include <ctime>
#include <exception>
#include <optional>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/staging.hpp"
#include "io/file_stamp.hpp"
#include "io/slab.hpp"

namespace bunchtrain::data {
namespace {

SampleBlock read_by(const Dataset& dataset, std::size_t range, const ReadPlan& plan, const ReadPlan& from,
                    LoaderStatistics& spent) {
  thread_local io::Slab slab;  // not the one of `io::thread_slab`: a dataset may read others while it decodes
  const PlannedBytes bytes = timed(spent.fetch_seconds, [&] { return slab.fetch(plan, from); });
  spent.bytes_fetched += static_cast<std::int64_t>(plan.bytes());
  require_unchanged(from, ByteSource::Look::now_and_then);
  return timed(spent.decode_seconds, [&] { return dataset.decode(range, bytes); });
}

/// What looks damaged may be a file that is being written again.
SampleBlock read_from_files(const Dataset& dataset, std::size_t range, const ReadPlan& plan,
                            LoaderStatistics& spent) {
  try {
    return read_by(dataset, range, plan, plan, spent);
  } catch (const DataError&) {
    require_unchanged(plan, ByteSource::Look::now);
    throw;
  }
}

/// From copies where there are some; what they bring that cannot be decoded is read again from the files.
SampleBlock read_staged(const Dataset& dataset, std::size_t range, Staging* staging,
                        LoaderStatistics& spent) {
  const ReadPlan plan = dataset.plan(range);
  if (const auto staged = staging != nullptr ? staging->redirect(plan) : std::nullopt) {
    try {
      return read_by(dataset, range, plan, staged->plan, spent);
    } catch (const DataError&) {
      staging->distrust(*staged);
    } catch (const IoError&) {
      staging->distrust(*staged);
    }
  }
  return read_from_files(dataset, range, plan, spent);
}

}  // namespace

void require_unchanged(const ReadPlan& from, ByteSource::Look look) {
  const ByteSource* before = nullptr;
  for (const Piece& piece : from.pieces)
    if (const ByteSource* source = std::exchange(before, piece.source); source != piece.source)
      piece.source->require_unchanged(look);
}

SampleBlock read_on_host(const Dataset& dataset, std::size_t range, Staging* staging,
                         LoaderStatistics& spent) {
  SampleBlock block = read_staged(dataset, range, staging, spent);
  NamedTensors tensors;
  for (const auto& [name, tensor] : block.tensors) tensors.set(name, tensor.contiguous());
  block.tensors = std::move(tensors);
  return block;
}

void expect_range(const Dataset& dataset, std::size_t range, const Staging* staging) noexcept {
  try {
    const ReadPlan plan = dataset.plan(range);
    const auto staged = staging != nullptr ? staging->redirect(plan) : std::nullopt;
    io::expect(staged ? staged->plan : plan);
  } catch (const std::exception&) {
  }
}

// A sector that cannot be read stays so; what else the system refuses may pass.
bool is_damage(const Error& error) {
  const auto* refused = dynamic_cast<const IoError*>(&error);
  if (refused != nullptr) return refused->code() == EIO;
  return dynamic_cast<const DataError*>(&error) != nullptr &&
         dynamic_cast<const SourceChangedError*>(&error) == nullptr;
}

double processor_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace bunchtrain::data
