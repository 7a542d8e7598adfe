// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/dataset.hpp"

#include <fmt/format.h>

#include <numeric>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/detail/device_plan.hpp"

namespace bunchtrain::data {
namespace {

std::string name_bytes(const ByteSource& source, std::uint64_t offset, std::uint64_t bytes) {
  return fmt::format("{} bytes from {} on of {}", bytes, offset, source.path());
}

[[noreturn]] void refuse(const std::string& what) {
  throw DataError(what + "; a plan serves only the samples that it was made for: plan these");
}

}  // namespace

std::uint64_t ReadPlan::bytes() const noexcept {
  return std::accumulate(pieces.begin(), pieces.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const Piece& piece) { return sum + piece.bytes; });
}

std::span<const std::byte> PlannedBytes::next(const ByteSource& source, std::uint64_t offset,
                                              std::uint64_t bytes) {
  const std::string& path = source.path();
  if (next_ == plan_->pieces.size())
    refuse(fmt::format("{}: {} bytes from {} on are needed, but the plan has no more", path, bytes, offset));
  const Piece& piece = plan_->pieces[next_];
  if (piece.source != &source || piece.offset != offset || piece.bytes != bytes)
    refuse(fmt::format("{}: {} bytes from {} on are needed, but the plan has {}", path, bytes, offset,
                       name_bytes(*piece.source, piece.offset, piece.bytes)));
  if (bytes_.size() < bytes)
    throw DataError(fmt::format("{}: {} bytes from {} on were planned, but only {} of them fetched", path,
                                bytes, offset, bytes_.size()));
  const auto found = bytes_.first(static_cast<std::size_t>(bytes));
  bytes_ = bytes_.subspan(found.size());
  ++next_;
  return found;
}

const std::vector<std::byte>* PlannedBytes::next_decoded(const ByteSource& source, std::uint64_t offset) {
  if (next_ == plan_->pieces.size()) return nullptr;
  const Piece& piece = plan_->pieces[next_];
  if (!piece.decoded || piece.source != &source || piece.offset != offset) return nullptr;
  ++next_;
  return piece.decoded.get();
}

void PlannedBytes::require_end() const {
  if (next_ == plan_->pieces.size()) return;
  const Piece& piece = plan_->pieces[next_];
  refuse(fmt::format("{} are planned but not needed", name_bytes(*piece.source, piece.offset, piece.bytes)));
}

ReadPlan Dataset::plan(std::size_t) const { return {}; }

DevicePlan Dataset::plan_on_device(std::size_t) const { return {}; }

std::optional<SampleBlock> Dataset::decode_on_device(std::size_t, const DevicePlan&,
                                                     const DeviceBytes&) const {
  return std::nullopt;
}

SampleBlock Dataset::decode(std::size_t range, PlannedBytes bytes) const {
  bytes.require_end();
  return read(range);
}

}  // namespace bunchtrain::data
