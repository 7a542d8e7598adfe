// SPDX-License-Identifier: Apache-2.0
#include "row_reader.hpp"

#include <algorithm>
#include <vector>

#include "io/slab.hpp"

namespace bunchtrain::data {

void RowPart::cut(std::size_t first, std::size_t rows, const std::byte* whole, const RowSink& sink) const {
  thread_local std::vector<std::byte> parts;
  parts.resize(rows * bytes);
  for (std::size_t row = 0; row < rows; ++row)
    std::copy_n(whole + row * row_bytes + offset, bytes, parts.data() + row * bytes);
  sink(first, rows, parts.data());
}

void RowReader::plan_parts(std::size_t first, std::size_t count, const RowPart& /*part*/,
                           ReadPlan& plan) const {
  this->plan(first, count, plan);
}

void RowReader::decode_parts(std::size_t first, std::size_t count, const RowPart& part, PlannedBytes& bytes,
                             const RowSink& sink) const {
  decode(first, count, bytes,
         [&](std::size_t at, std::size_t rows, const std::byte* whole) { part.cut(at, rows, whole, sink); });
}

void RowReader::read(std::size_t first, std::size_t count, const RowSink& sink) const {
  ReadPlan wanted;
  plan(first, count, wanted);
  PlannedBytes bytes = io::thread_slab().fetch(wanted);
  decode(first, count, bytes, sink);
}

}  // namespace bunchtrain::data
