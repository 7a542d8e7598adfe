// SPDX-License-Identifier: Apache-2.0
#include "engine.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "cufile_engine.hpp"
#include "file_bytes.hpp"
#include "uring_engine.hpp"

namespace bunchtrain::data::io {
namespace {

class PreadEngine final : public Engine {
 public:
  IoEngine kind() const noexcept override { return IoEngine::pread; }
  int score(const Request&) const override { return 50; }
  std::string why_not(const ByteSource& source) const override {
    return source.is_file() ? "" : "only the HDF5 library reads it";
  }
  void read(std::span<const Piece> pieces, std::span<std::byte> out) const override {
    read_each(pieces, out);
  }
  void expect(std::span<const Piece> pieces) const override {
    for (const Piece& piece : pieces)
      if (const auto* file = dynamic_cast<const FileBytes*>(piece.source))
        file->expect(piece.offset, piece.bytes);
  }
};

class Hdf5Engine final : public Engine {
 public:
  IoEngine kind() const noexcept override { return IoEngine::hdf5; }
  int score(const Request&) const override { return 1; }
  std::string why_not(const ByteSource& source) const override {
    return source.is_file() ? "it is read as a file" : "";
  }
  void read(std::span<const Piece> pieces, std::span<std::byte> out) const override {
    read_each(pieces, out);
  }
};

bool touch(const Piece& before, const Piece& after) {
  return before.source == after.source && before.offset + before.bytes == after.offset &&
         before.bytes + after.bytes <= kMostBytesAtOnce;
}

/// What is to be read, in the plan's order: pieces that hold bytes, neighbours as one.
std::vector<Piece> merge(const ReadPlan& plan) {
  std::vector<Piece> merged;
  for (const Piece& piece : plan.pieces) {
    if (piece.bytes == 0) continue;
    if (!merged.empty() && touch(merged.back(), piece)) {
      merged.back().bytes += piece.bytes;
    } else {
      merged.push_back(piece);
    }
  }
  return merged;
}

const Engine& engine_for(const ByteSource& source, std::span<const Engine* const> engines) {
  if (const Engine* own = source.engine(); own != nullptr && own->why_not(source).empty()) return *own;
  std::vector<std::string> reasons;
  for (const Engine* engine : engines) {
    const std::string reason = engine->why_not(source);
    if (reason.empty()) return *engine;
    reasons.push_back(fmt::format("{}: {}", engine->name(), reason));
  }
  throw DataError(fmt::format("{}: no engine can read it ({})", source.path(), fmt::join(reasons, "; ")));
}

std::size_t bytes_of(std::span<const Piece> pieces) {
  std::uint64_t bytes = 0;
  for (const Piece& piece : pieces) bytes += piece.bytes;
  return static_cast<std::size_t>(bytes);
}

}  // namespace

const Engine& pread_engine() {
  static const PreadEngine engine;
  return engine;
}

const Engine& hdf5_engine() {
  static const Hdf5Engine engine;
  return engine;
}

void read_each(std::span<const Piece> pieces, std::span<std::byte> out) {
  for (const Piece& piece : pieces) {
    const auto bytes = static_cast<std::size_t>(piece.bytes);
    piece.source->read(piece.offset, out.first(bytes));
    out = out.subspan(bytes);
  }
}

std::span<const Engine* const> all_engines() {
  static const std::array<const Engine*, 4> all = {&uring_engine(), &pread_engine(), &cufile_engine(),
                                                   &hdf5_engine()};
  return all;
}

std::span<const Engine* const> engines() {
  static const std::array<const Engine*, 2> all = {&pread_engine(), &hdf5_engine()};
  return all;
}

void fetch_by(const Engine& engine, const ReadPlan& plan, std::span<std::byte> out) {
  engine.read(merge(plan), out);
}

namespace {

// An engine gets all that follows each other and is its own: it may have many reads under way at once.
template <class Call>
void for_engines(const ReadPlan& plan, std::span<const Engine* const> by, Call&& call) {
  const std::vector<Piece> merged = merge(plan);
  for (std::size_t begin = 0; begin < merged.size();) {
    const Engine& engine = engine_for(*merged[begin].source, by);
    std::size_t end = begin + 1;
    while (end < merged.size() &&
           (merged[end].source == merged[end - 1].source || &engine_for(*merged[end].source, by) == &engine))
      ++end;
    call(engine, std::span<const Piece>(merged).subspan(begin, end - begin));
    begin = end;
  }
}

}  // namespace

void fetch(const ReadPlan& plan, std::span<std::byte> out, std::span<const Engine* const> by) {
  for_engines(plan, by, [&](const Engine& engine, std::span<const Piece> pieces) {
    const std::size_t bytes = bytes_of(pieces);
    engine.read(pieces, out.first(bytes));
    out = out.subspan(bytes);
  });
}

void expect(const ReadPlan& plan) {
  for_engines(plan, engines(),
              [](const Engine& engine, std::span<const Piece> pieces) { engine.expect(pieces); });
}

}  // namespace bunchtrain::data::io
