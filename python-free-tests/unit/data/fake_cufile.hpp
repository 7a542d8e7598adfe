// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A library with the calls of cuFile, made of pread, that fails as told.

#include <atomic>

namespace bunchtrain::data {

struct FakeCufile {
  enum class Reads {
    well,
    in_pieces,
    short_by_a_page,
    with_errno,
    minus_five,
    with_code,
    other_bytes,
    never
  };

  std::atomic<int> driver_code = 0, handle_code = 0, buffer_code = 0;
  std::atomic<int> read_code = 5008;  ///< of `with_code`
  std::atomic<Reads> reads = Reads::well;
  std::atomic<int> reads_done = 0, handles = 0, handles_made = 0, buffers = 0;
  std::atomic<int> misuses = 0;  ///< reads that are not aligned, or into memory that is not registered
};

}  // namespace bunchtrain::data

/// The one that the loaded library uses.
extern "C" bunchtrain::data::FakeCufile* fake_cufile();
