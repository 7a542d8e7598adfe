// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One way of reading the rows of a dataset: what all of them have in common.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/data/read_plan.hpp"
#include "bunchtrain/ops/detail/stored_column.hpp"
#include "row_spans.hpp"

namespace bunchtrain {
class Hasher;
}

namespace bunchtrain::data {

class StoredDataset;

/// Gets consecutive rows: `rows` of them from the `first`-th of the request on; the bytes live until it
/// returns, in memory of the thread into which it must not read others.
using RowSink = std::function<void(std::size_t first, std::size_t rows, const std::byte* bytes)>;

/// Bytes at either end of a dataset that its fingerprint takes in.
inline constexpr std::size_t kHashedEndBytes = std::size_t{64} << 10;

/// Rows that hold nothing but the fill value, and why: "were never written".
struct AbsentRows {
  RowSpans rows;
  std::string why;
  bool may_be_filled = true;  ///< false: they are there but cannot be read now, for rights or descriptors
};

using ShuffledBlocks = std::vector<ops::detail::ShuffledBlock>;

/// A stretch of each row's bytes: of an image [X, Y, Z] the cells of a slab along x.
struct RowPart {
  std::size_t row_bytes = 0;  ///< of the whole row
  std::size_t offset = 0, bytes = 0;

  /// Hands on the stretches of whole rows.
  void cut(std::size_t first, std::size_t rows, const std::byte* whole, const RowSink& sink) const;
};

/// Says which bytes rows are made of, and makes them of these bytes. Immutable, thread-safe.
class RowReader {
 public:
  virtual ~RowReader() = default;
  /// Adds the pieces that `decode` needs; rows that were never written need none.
  /// @pre 0 < count, first + count <= rows
  virtual void plan(std::size_t first, std::size_t count, ReadPlan& plan) const = 0;
  /// The same rows from the pieces that `plan` added for them. @throws DataError naming the rows
  virtual void decode(std::size_t first, std::size_t count, PlannedBytes& bytes,
                      const RowSink& sink) const = 0;
  /// Of each row a part only, by the bytes of that part where they can be had alone; else by those of whole rows.
  virtual void plan_parts(std::size_t first, std::size_t count, const RowPart& part, ReadPlan& plan) const;
  /// The sink gets `part.bytes` for each row.
  virtual void decode_parts(std::size_t first, std::size_t count, const RowPart& part, PlannedBytes& bytes,
                            const RowSink& sink) const;
  /// Plans, fetches into memory of the thread, decodes. @throws DataError, IoError
  void read(std::size_t first, std::size_t count, const RowSink& sink) const;
  /// "pread + own inflate"
  virtual std::string way() const = 0;
  /// Rows that are decoded together; 1 if any row can be read by itself.
  virtual std::size_t rows_together() const { return 1; }
  /// Why rows do not lie in the file as they are, or as the shuffle filter leaves them; empty if they do.
  virtual std::string why_not_plain() const { return way(); }
  /// Adds the pieces of rows as they lie there, one after another; and how those are put together that the filter took apart, one
  /// block's behind another's. @pre `why_not_plain` is empty
  virtual void plan_as_stored(std::size_t first, std::size_t count, ReadPlan& plan,
                              ShuffledBlocks& /*shuffled*/) const {
    this->plan(first, count, plan);
  }
  /// What almost any change of the values moves: addresses, sizes, ends. Not the place of a file.
  virtual void add_to(Hasher& hasher) const = 0;
  /// The datasets from which the rows of a virtual one come, each once.
  virtual std::vector<std::shared_ptr<const StoredDataset>> sources() const { return {}; }
  /// Files that it reads beside the one that holds the dataset.
  virtual std::vector<std::string> other_files() const { return {}; }
};

}  // namespace bunchtrain::data
