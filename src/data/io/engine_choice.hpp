// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which engine reads the files of a data set: chosen once, when it is opened.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/data/io_engine.hpp"
#include "engine.hpp"

namespace bunchtrain::data::io {

struct EngineChoice {
  const Engine* engine = &pread_engine();
  std::string reason = {};  ///< "asked for", "1.2 GB fit in memory"
};

/// The engine that was asked for, or the one with the highest score.
/// @throws ConfigError with the reason if the one that was asked for cannot read here.
EngineChoice choose_engine(IoEngine wanted, const Request& request);
/// Reads some of the first file by the engine and by pread, and says how fast both are.
/// @throws ConfigError with the reason if the engine cannot read the files, or brings other bytes than pread
void add_probe(EngineChoice& choice, std::span<const std::filesystem::path> files);
/// For these files: their sizes, and the memory that is left here.
EngineChoice choose_engine(IoEngine wanted, std::span<const std::filesystem::path> files);

/// Bytes that the page cache may take: what the machine, or the control group, has left.
std::uint64_t free_memory_bytes();

/// "files: pread (1.2 GB fit in memory), bound by decoding".
/// @param ways of reading of the datasets ("pread + own inflate"), by which the bound is told
std::string describe(const EngineChoice& choice, std::span<const std::string> ways);

}  // namespace bunchtrain::data::io
