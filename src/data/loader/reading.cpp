// SPDX-License-Identifier: Apache-2.0
#include "reading.hpp"

#include <cerrno>
#include <ctime>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "io/file_stamp.hpp"

namespace bunchtrain::data {

void require_unchanged(const ReadPlan& from, ByteSource::Look look) {
  const ByteSource* before = nullptr;
  for (const Piece& piece : from.pieces)
    if (const ByteSource* source = std::exchange(before, piece.source); source != piece.source)
      piece.source->require_unchanged(look);
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
