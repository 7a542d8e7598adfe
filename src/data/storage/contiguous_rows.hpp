// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Rows that lie one behind the other in the file.

#include <cstdint>
#include <memory>
#include <optional>

#include "dataset_layout.hpp"
#include "io/file_bytes.hpp"
#include "row_reader.hpp"

namespace bunchtrain::data {

class ContiguousRows final : public RowReader {
 public:
  /// @param base offset of the first row in the file; nothing if no row was ever written.
  /// @throws DataError if the file ends before the last row.
  ContiguousRows(std::shared_ptr<const FileBytes> bytes, const DatasetLayout& layout,
                 std::optional<std::uint64_t> base, const std::string& where);

  void plan(std::size_t first, std::size_t count, ReadPlan& plan) const override;
  void decode(std::size_t first, std::size_t count, PlannedBytes& bytes, const RowSink& sink) const override;
  void plan_parts(std::size_t first, std::size_t count, const RowPart& part, ReadPlan& plan) const override;
  void decode_parts(std::size_t first, std::size_t count, const RowPart& part, PlannedBytes& bytes,
                    const RowSink& sink) const override;
  std::string way() const override { return bytes_->way(); }
  std::string why_not_plain() const override { return base_ ? "" : "never written"; }
  void add_to(Hasher& hasher) const override;

 private:
  std::shared_ptr<const FileBytes> bytes_;
  std::size_t rows_, row_bytes_;
  std::vector<std::byte> fill_;
  std::optional<std::uint64_t> base_;
};

}  // namespace bunchtrain::data
