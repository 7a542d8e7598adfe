// SPDX-License-Identifier: Apache-2.0
#include "contiguous_rows.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"

namespace bunchtrain::data {
ContiguousRows::ContiguousRows(std::shared_ptr<const FileBytes> bytes, const DatasetLayout& layout,
                               std::optional<std::uint64_t> base, const std::string& where)
    : bytes_(std::move(bytes)),
      rows_(layout.rows()),
      row_bytes_(layout.row_bytes()),
      fill_(layout.fill),
      base_(base) {
  if (!base_) return;
  const std::uint64_t there = bytes_->size() - std::min(*base_, bytes_->size());
  if (there / row_bytes_ < rows_)
    throw DataError(
        fmt::format("{}: rows from {} on lie beyond the end of the file; it is truncated, fetch "
                    "it again",
                    where, there / row_bytes_));
}

void ContiguousRows::plan(std::size_t first, std::size_t count, ReadPlan& plan) const {
  if (base_) plan.add(*bytes_, *base_ + first * row_bytes_, count * row_bytes_);
}

void ContiguousRows::decode(std::size_t first, std::size_t count, PlannedBytes& bytes,
                            const RowSink& sink) const {
  const auto rows = base_ ? bytes.next(*bytes_, *base_ + first * row_bytes_, count * row_bytes_)
                          : repeated(fill_, count * row_bytes_);
  sink(0, count, rows.data());
}

void ContiguousRows::plan_parts(std::size_t first, std::size_t count, const RowPart& part,
                                ReadPlan& plan) const {
  if (!base_) return;
  for (std::size_t row = first; row < first + count; ++row)
    plan.add(*bytes_, *base_ + row * row_bytes_ + part.offset, part.bytes);
}

void ContiguousRows::decode_parts(std::size_t first, std::size_t count, const RowPart& part,
                                  PlannedBytes& bytes, const RowSink& sink) const {
  if (!base_) return RowReader::decode_parts(first, count, part, bytes, sink);
  for (std::size_t row = 0; row < count; ++row)
    sink(row, 1, bytes.next(*bytes_, *base_ + (first + row) * row_bytes_ + part.offset, part.bytes).data());
}

void ContiguousRows::add_to(Hasher& hasher) const {
  if (!base_) return;
  const std::size_t all = rows_ * row_bytes_;
  std::vector<std::byte> end(std::min(all, kHashedEndBytes));
  bytes_->read(*base_, end);
  hasher.update(end);
  bytes_->read(*base_ + all - end.size(), end);
  hasher.update(end);
}

}  // namespace bunchtrain::data
