// SPDX-License-Identifier: Apache-2.0
#pragma once
/// cuFile: NVIDIA's GPUDirect Storage, opened when a program runs.

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "engine.hpp"
#include "slab_memory.hpp"

namespace bunchtrain::data::io {

/// What the engine finds and how it reads; tests have their own.
struct CufileEnvironment {
  std::string library = "libcufile.so.0";
  std::filesystem::path devices = "/run/udev";     ///< without it the library crashes in containers
  std::filesystem::path kernel = "/proc/version";  ///< says whether this is Windows
  bool every_file_system = false;                  ///< tests may lie on one on which it is known not to work
  SlabMemory* memory = &host_slab_memory();
  int readers = 4;                            ///< threads, each with a handle of its own of every file
  std::chrono::milliseconds patience{60000};  ///< without an answer the library is not asked again
};

/// Synchronous reads of own threads into registered slabs, cut into aligned supersets of at most 4 MiB. Neither
/// batches nor streams, whose calls lose errors or wait for ever (facts in research/dataloading.md). What fails, comes
/// short or does not come at all is read by pread; a file that the library refuses is left to other engines from then on.
std::unique_ptr<const Engine> make_cufile_engine(const CufileEnvironment& environment);

/// That of this process.
const Engine& cufile_engine();

/// Reads some ranges of a file by an engine and by pread.
struct Probe {
  std::string fault = {};  ///< other bytes; empty: the same
  double bytes_per_second = 0;
  double pread_bytes_per_second = 0;
};
Probe probe(const Engine& engine, const std::filesystem::path& file);

}  // namespace bunchtrain::data::io
