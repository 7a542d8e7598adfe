// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/weights/safetensors.hpp"

#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <functional>
#include <numeric>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/detail/unique_handle.hpp"
#include "bunchtrain/core/error.hpp"
#include "safetensors_header.hpp"

namespace bunchtrain::weights {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

struct DescriptorTraits {
  using Handle = int;
  static Handle null() noexcept { return -1; }
  static void close(Handle handle) noexcept { ::close(handle); }
};
using Descriptor = UniqueHandle<DescriptorTraits>;

[[noreturn]] void refuse_reading(std::string_view origin, std::string_view reason) {
  throw CheckpointError(fmt::format("cannot read {}: {}", origin, reason));
}

[[noreturn]] void fail_reading(std::string_view origin, int code) {
  throw_system_fault<CheckpointError>(fmt::format("cannot read {}: {}", origin, std::strerror(code)), code);
}

/// Copies `destination.size()` bytes from `offset` of the source.
using ReadAt = std::function<void(std::span<std::byte> destination, std::uint64_t offset)>;

/// Any byte but 0 and 1 in a bool is undefined behaviour for whoever reads it.
void check_booleans(std::span<const std::byte> bytes, std::string_view name, std::string_view origin) {
  if (std::ranges::any_of(bytes, [](std::byte value) { return std::to_integer<int>(value) > 1; })) {
    refuse_reading(origin, fmt::format("tensor '{}' is BOOL but holds bytes other than 0 and 1", name));
  }
}

SafeTensors read_content(std::uint64_t file_bytes, const ReadAt& read_at, std::string_view origin) {
  std::array<std::byte, detail::kPrefixBytes> prefix{};
  const auto prefix_bytes =
      static_cast<std::size_t>(std::min<std::uint64_t>(file_bytes, detail::kPrefixBytes));
  read_at(std::span(prefix).first(prefix_bytes), 0);
  const std::uint64_t length =
      detail::read_header_length(std::span(prefix).first(prefix_bytes), file_bytes, origin);

  std::string json(length, '\0');
  read_at(std::as_writable_bytes(std::span(json)), detail::kPrefixBytes);
  const std::uint64_t data_begin = detail::kPrefixBytes + length;
  detail::Header header = detail::parse_header(json, file_bytes - data_begin, origin);

  SafeTensors content{.tensors = {}, .metadata = std::move(header.metadata)};
  for (detail::HeaderEntry& entry : header.entries) {
    at::Tensor tensor = at::empty(entry.shape, entry.dtype);
    const std::span bytes(static_cast<std::byte*>(tensor.data_ptr()), entry.end - entry.begin);
    read_at(bytes, data_begin + entry.begin);
    if (entry.dtype == c10::ScalarType::Bool) check_booleans(bytes, entry.name, origin);
    content.tensors.set(std::move(entry.name), std::move(tensor));
  }
  return content;
}

void read_exactly(int descriptor, std::span<std::byte> destination, std::uint64_t offset,
                  std::string_view origin) {
  while (!destination.empty()) {
    const ssize_t count =
        ::pread(descriptor, destination.data(), destination.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_reading(origin, errno);
    if (count == 0) refuse_reading(origin, "the file became shorter while it was read");
    destination = destination.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

at::Tensor writable_tensor(const NamedTensors::Entry& entry, std::string_view origin) {
  const at::Tensor& tensor = entry.tensor;
  if (!tensor.defined() || tensor.layout() != at::kStrided || !detail::find_dtype(tensor.scalar_type())) {
    throw CheckpointError(
        fmt::format("cannot write {}: tensor '{}' is {}; dense tensors of F64 F32 F16 BF16 I64 I32 I16 I8 U8 "
                    "BOOL can be stored",
                    origin, entry.name, tensor.defined() ? tensor.toString() : std::string("undefined")));
  }
  return tensor.detach().to(at::kCPU).contiguous();
}

/// Places tensors by falling element size, so that each is aligned to its own.
std::vector<std::size_t> place_entries(std::vector<detail::HeaderEntry>& entries,
                                       std::span<const at::Tensor> tensors) {
  std::vector<std::size_t> order(entries.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return tensors[i].element_size(); });
  std::uint64_t place = 0;
  for (const std::size_t i : order) {
    entries[i].begin = place;
    entries[i].end = place += tensors[i].nbytes();
  }
  return order;
}

}  // namespace

SafeTensors read_safetensors(const std::filesystem::path& path) {
  const std::string origin = path.string();
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) fail_reading(origin, errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_reading(origin, errno);
  if (!S_ISREG(status.st_mode)) refuse_reading(origin, "it is not a regular file");
  const auto read_at = [&](std::span<std::byte> destination, std::uint64_t offset) {
    read_exactly(file.get(), destination, offset, origin);
  };
  return read_content(static_cast<std::uint64_t>(status.st_size), read_at, origin);
}

SafeTensors parse_safetensors(std::span<const std::byte> bytes, std::string_view origin) {
  const auto read_at = [&](std::span<std::byte> destination, std::uint64_t offset) {
    std::ranges::copy(bytes.subspan(offset, destination.size()), destination.begin());
  };
  return read_content(bytes.size(), read_at, origin);
}

WrittenFile write_safetensors(const std::filesystem::path& path, const SafeTensors& content) {
  const std::string origin = path.string();
  detail::Header header{.entries = {}, .metadata = content.metadata};
  std::vector<at::Tensor> tensors;
  for (const NamedTensors::Entry& entry : content.tensors) {
    tensors.push_back(writable_tensor(entry, origin));
    header.entries.push_back(
        {.name = entry.name, .dtype = tensors.back().scalar_type(), .shape = tensors.back().sizes().vec()});
  }
  const std::vector<std::size_t> order = place_entries(header.entries, tensors);
  const std::string json = detail::format_header(header, origin);

  AtomicFile file(path);
  std::array<std::byte, detail::kPrefixBytes> prefix{};
  for (std::size_t i = 0; i < prefix.size(); ++i) prefix[i] = static_cast<std::byte>(json.size() >> (8 * i));
  file.write(prefix);
  file.write(json);
  for (const std::size_t i : order) {
    file.write(std::span(static_cast<const std::byte*>(tensors[i].const_data_ptr()), tensors[i].nbytes()));
  }
  file.commit();
  return {.bytes = file.bytes(), .hash = file.hash()};
}

}  // namespace bunchtrain::weights
