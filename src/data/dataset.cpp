// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/dataset.hpp"

#include <numeric>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::data {

std::uint64_t ReadPlan::bytes() const noexcept {
  return std::accumulate(pieces.begin(), pieces.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const Piece& piece) { return sum + piece.bytes; });
}

PlannedBytes::Fetched PlannedBytes::next() {
  if (next_ == plan_->pieces.size())
    throw DataError("samples are decoded from more bytes than were planned for them");
  const Piece& piece = plan_->pieces[next_++];
  const auto bytes = bytes_.first(static_cast<std::size_t>(piece.bytes));
  bytes_ = bytes_.subspan(bytes.size());
  return {.piece = &piece, .bytes = bytes};
}

ReadPlan Dataset::plan(std::size_t) const { return {}; }

SampleBlock Dataset::decode(std::size_t range, PlannedBytes) const { return read(range); }

}  // namespace bunchtrain::data
