// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Rows in chunks that we find and decode ourselves.

#include <memory>
#include <span>

#include "chunk_map.hpp"
#include "dataset_layout.hpp"
#include "decoded_chunks.hpp"
#include "io/file_bytes.hpp"
#include "row_reader.hpp"

namespace bunchtrain::data {

/// Reads chunks by offset; inflated, checked and unshuffled by the calling thread.
class ChunkedRows final : public RowReader {
 public:
  /// @pre all filters can be decoded, and the map has addresses. @param decoded shared by all
  /// parts of a virtual dataset
  ChunkedRows(std::shared_ptr<const FileBytes> bytes, const DatasetLayout& layout, ChunkMap map,
              std::shared_ptr<DecodedChunks> decoded, const std::string& where);

  void plan(std::size_t first, std::size_t count, ReadPlan& plan) const override;
  void decode(std::size_t first, std::size_t count, PlannedBytes& bytes, const RowSink& sink) const override;
  void plan_parts(std::size_t first, std::size_t count, const RowPart& part, ReadPlan& plan) const override;
  void decode_parts(std::size_t first, std::size_t count, const RowPart& part, PlannedBytes& bytes,
                    const RowSink& sink) const override;
  std::string way() const override;
  std::size_t rows_together() const override { return static_cast<std::size_t>(layout_.chunk[0]); }
  std::string why_not_plain() const override;
  void plan_as_stored(std::size_t first, std::size_t count, ReadPlan& plan,
                      ShuffledBlocks& shuffled) const override;
  void add_to(Hasher& hasher) const override;

 private:
  bool rows_are_whole() const;
  bool is_raw() const { return layout_.filters.empty() && rows_are_whole(); }
  bool is_shuffled() const;
  struct Run;
  void plan_shuffled(const Run& run, ReadPlan& plan, ShuffledBlocks& shuffled) const;
  template <class Visit>
  void for_each_run(std::size_t first, std::size_t count, const Visit& visit) const;
  const std::byte* decode_run(const Run& run, PlannedBytes& bytes) const;
  bool has_cells_of(const RowPart& part, std::uint64_t index_in_block) const;
  StoredChunk first_stored(std::uint64_t block) const;
  const std::byte* decode_block(const Run& run, PlannedBytes& bytes) const;
  template <class Wanted>
  const std::byte* assemble(const Run& run, PlannedBytes& bytes, const Wanted& wanted) const;
  const std::byte* decode_one(std::uint64_t place, PlannedBytes& bytes, DecodeScratch& scratch) const;
  void place_chunk(const std::byte* chunk, std::uint64_t index_in_block, std::size_t rows_in_block,
                   std::byte* rows) const;

  std::shared_ptr<const FileBytes> bytes_;
  DatasetLayout layout_;
  ChunkMap map_;
  std::shared_ptr<DecodedChunks> decoded_;
  std::string where_;
};

}  // namespace bunchtrain::data
