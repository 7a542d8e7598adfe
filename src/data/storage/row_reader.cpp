// SPDX-License-Identifier: Apache-2.0
#include "row_reader.hpp"

#include "io/slab.hpp"

namespace bunchtrain::data {

void RowReader::read(std::size_t first, std::size_t count, const RowSink& sink) const {
  ReadPlan wanted;
  plan(first, count, wanted);
  PlannedBytes bytes = io::thread_slab().fetch(wanted);
  decode(first, count, bytes, sink);
}

}  // namespace bunchtrain::data
