// SPDX-License-Identifier: Apache-2.0
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
#include "bunchtrain/weights/safetensors_file.hpp"
#include "header.hpp"

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

/// Any byte but 0 and 1 in a bool is undefined behaviour for whoever reads it.
void check_booleans(std::span<const std::byte> bytes, std::string_view name, std::string_view origin) {
  if (std::ranges::any_of(bytes, [](std::byte value) { return std::to_integer<int>(value) > 1; })) {
    refuse_reading(origin, fmt::format("tensor '{}' is BOOL but holds bytes other than 0 and 1", name));
  }
}

}  // namespace

struct SafeTensorsFile::Impl {
  std::string origin;
  Descriptor file = {};
  std::span<const std::byte> memory = {};
  std::uint64_t data_begin = 0;
  detail::Header header = {};

  void read_at(std::span<std::byte> destination, std::uint64_t offset) const {
    if (file) return read_exactly(file.get(), destination, offset, origin);
    std::ranges::copy(memory.subspan(offset, destination.size()), destination.begin());
  }

  void read_header(std::uint64_t file_bytes) {
    std::array<std::byte, detail::kPrefixBytes> bytes{};
    const std::span prefix = std::span(bytes).first(
        static_cast<std::size_t>(std::min<std::uint64_t>(file_bytes, detail::kPrefixBytes)));
    read_at(prefix, 0);
    std::string json(detail::read_header_length(prefix, file_bytes, origin), '\0');
    read_at(std::as_writable_bytes(std::span(json)), detail::kPrefixBytes);
    data_begin = detail::kPrefixBytes + json.size();
    header = detail::parse_header(json, file_bytes - data_begin, origin);
  }
};

SafeTensorsFile::SafeTensorsFile(const std::filesystem::path& path)
    : impl_(std::make_unique<Impl>(Impl{.origin = path.string()})) {
  impl_->file = Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!impl_->file) fail_reading(impl_->origin, errno);
  struct stat status {};
  if (::fstat(impl_->file.get(), &status) != 0) fail_reading(impl_->origin, errno);
  if (!S_ISREG(status.st_mode)) refuse_reading(impl_->origin, "it is not a regular file");
  impl_->read_header(static_cast<std::uint64_t>(status.st_size));
}

SafeTensorsFile::SafeTensorsFile(std::span<const std::byte> bytes, std::string_view origin)
    : impl_(std::make_unique<Impl>(Impl{.origin = std::string(origin), .memory = bytes})) {
  impl_->read_header(bytes.size());
}

SafeTensorsFile::~SafeTensorsFile() = default;
SafeTensorsFile::SafeTensorsFile(SafeTensorsFile&&) noexcept = default;
SafeTensorsFile& SafeTensorsFile::operator=(SafeTensorsFile&&) noexcept = default;

const std::vector<TensorEntry>& SafeTensorsFile::entries() const noexcept { return impl_->header.entries; }

const std::map<std::string, std::string>& SafeTensorsFile::metadata() const noexcept {
  return impl_->header.metadata;
}

const TensorEntry* SafeTensorsFile::find(std::string_view name) const noexcept {
  const auto found = std::ranges::find(entries(), name, &TensorEntry::name);
  return found == entries().end() ? nullptr : &*found;
}

void SafeTensorsFile::read(const TensorEntry& entry, std::span<std::byte> destination,
                           std::uint64_t offset) const {
  expects(offset <= entry.size() && destination.size() <= entry.size() - offset,
          "bytes that are read of a tensor lie inside of it");
  impl_->read_at(destination, impl_->data_begin + entry.begin + offset);
  if (entry.dtype == Dtype::boolean) check_booleans(destination, entry.name, impl_->origin);
}

WrittenFile write_safetensors_file(const std::filesystem::path& path, std::span<const TensorBytes> tensors,
                                   const std::map<std::string, std::string>& metadata) {
  const std::string origin = path.string();
  detail::Header header{.entries = {}, .metadata = metadata};
  for (const TensorBytes& tensor : tensors) {
    header.entries.push_back({.name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape});
    expects(detail::byte_count(header.entries.back()) == tensor.bytes.size(),
            "the bytes of a tensor are as many as its type and shape say");
  }
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return bytes_of(tensors[i].dtype); });
  std::uint64_t place = 0;
  for (const std::size_t i : order) {
    header.entries[i].begin = place;
    header.entries[i].end = place += tensors[i].bytes.size();
  }
  const std::string json = detail::format_header(header, origin);

  AtomicFile file(path);
  std::array<std::byte, detail::kPrefixBytes> prefix{};
  for (std::size_t i = 0; i < prefix.size(); ++i) prefix[i] = static_cast<std::byte>(json.size() >> (8 * i));
  file.write(prefix);
  file.write(json);
  for (const std::size_t i : order) file.write(tensors[i].bytes);
  file.commit();
  return {.bytes = file.bytes(), .hash = file.hash()};
}

}  // namespace bunchtrain::weights
