// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Undoes HDF5's filters on a stored chunk without the library: deflate, lzf, zstd, lz4, blosc, byte shuffle,
/// Fletcher-32.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/growing_buffer.hpp"

namespace bunchtrain::data {

/// One filter of a dataset's pipeline, in the order of writing.
struct ChunkFilter {
  int id = 0;                    ///< H5Z_FILTER_*
  std::vector<unsigned> values;  ///< client data
  std::string name;              ///< as the file tells it
};

/// Which filters `decode_chunk` knows in this build.
bool can_decode(const ChunkFilter& filter) noexcept;
/// "lzf (32000)": the name the HDF5 registry knows, for messages.
std::string describe(const ChunkFilter& filter);

/// Which of our decoders does the work, for messages: "zstd", "inflate".
std::string_view decoder_of(std::span<const ChunkFilter> filters) noexcept;

/// What a user can do about a filter that neither we nor this HDF5 have.
std::string way_out_of(const ChunkFilter& filter);

/// What decoding needs, per thread.
struct DecodeScratch {
  GrowingBuffer first, second;
};

/// The chunk's `chunk_bytes` bytes from the stored ones; a bit of `skip_mask` says that this filter was not
/// applied. The result lies in one of the buffers of `scratch` or in `stored`.
/// @return nothing, with the reason in `why`, if the bytes are damaged.
std::optional<std::span<const std::byte>> decode_chunk(std::span<const ChunkFilter> filters,
                                                       std::uint32_t skip_mask,
                                                       std::span<const std::byte> stored,
                                                       std::size_t chunk_bytes, DecodeScratch& scratch,
                                                       std::string& why);

/// The size of the elements that the shuffle filter took apart, if it is the only one; else 0.
std::size_t shuffled_elements(std::span<const ChunkFilter> filters) noexcept;

/// HDF5's shuffle undone: `planes` holds the first bytes of all elements, then all second bytes, ...; bytes
/// behind the last whole element stay where they are.
void unshuffle(std::span<const std::byte> planes, std::size_t element_bytes, std::byte* out);

/// The checksum of HDF5's fletcher32 filter.
std::uint32_t fletcher32(std::span<const std::byte> bytes) noexcept;

}  // namespace bunchtrain::data
