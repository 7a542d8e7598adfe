// SPDX-License-Identifier: Apache-2.0
#include "io/cufile_engine.hpp"

#include <fmt/format.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "io/file_bytes.hpp"
#include "library.hpp"
#include "readers.hpp"

namespace bunchtrain::data::io {
namespace {

namespace fs = std::filesystem;
using cufile::Answer;
using cufile::Outcome;
using cufile::Part;

/// File systems on which it cannot work; whether it works on others the library says.
struct Unfit {
  long magic;
  std::string_view name;
};
constexpr std::array kUnfit = {Unfit{0x794c7630, "overlay"}, Unfit{0x01021994, "tmpfs"},
                               Unfit{0x858458f6, "ramfs"},   Unfit{0x65735546, "FUSE"},
                               Unfit{0x00c36400, "Ceph"},    Unfit{0x73717368, "squashfs"},
                               Unfit{0x9fa0, "proc"},        Unfit{0x62656572, "sysfs"}};

class CufileEngine final : public Engine {
 public:
  explicit CufileEngine(const CufileEnvironment& environment) : environment_(environment) {}

  IoEngine kind() const noexcept override { return IoEngine::cufile; }
  std::string unavailable() const override {
    const std::lock_guard lock(mutex_);
    open();
    return reason_;
  }
  /// Only by its name: rows are decoded on the host, and whoever opens the library cannot fork any more.
  int score(const Request&) const override { return 0; }

  std::string why_not(const ByteSource& source) const override {
    if (dynamic_cast<const FileBytes*>(&source) == nullptr) return "it is no file that it could open";
    return why_not_file(source.path());
  }

  std::string why_not_file(const std::string& path) const override {
    const std::lock_guard lock(mutex_);
    open();
    if (!reason_.empty()) return reason_;
    auto& known = files_[path];
    if (!known) known = environment_.every_file_system ? std::string() : look_at_file_system(path);
    return *known;
  }

  void read(std::span<const Piece> pieces, std::span<std::byte> out) const override {
    const std::vector<Part> parts = cut(pieces, out);
    if (!unavailable().empty()) {
      for (const Part& part : parts) pread(part);
      return;
    }
    const std::vector<Answer> answers = readers_->read(parts, environment_.patience);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (answers[i].outcome == Outcome::read) continue;
      remember(parts[i], answers[i]);
      pread(parts[i]);
    }
  }

 private:
  /// The library, when it is needed first. Under the lock.
  void open() const {
    if (std::exchange(opened_, true)) return;
    reason_ = look_around();
    if (reason_.empty()) reason_ = library_.open(environment_.library);
    if (reason_.empty())
      readers_ = std::make_unique<cufile::Readers>(library_, *environment_.memory, environment_.readers);
  }

  std::string look_around() const {
    std::ifstream kernel(environment_.kernel);
    std::string version;
    std::getline(kernel, version);
    if (version.find("icrosoft") != std::string::npos) return "Windows' Linux has no GPUDirect Storage";
    std::error_code error;
    if (!fs::is_directory(environment_.devices, error))
      return fmt::format("there is no {}: containers have to be given it (docker run -v {}:{}:ro)",
                         environment_.devices.string(), environment_.devices.string(),
                         environment_.devices.string());
    return {};
  }

  static std::string look_at_file_system(const std::string& path) {
    struct statfs status {};
    if (::statfs(path.c_str(), &status) != 0) return {};  // reading it says why
    const auto found = std::ranges::find_if(
        kUnfit, [&](const Unfit& one) { return one.magic == static_cast<long>(status.f_type); });
    return found == kUnfit.end() ? std::string()
                                 : fmt::format("{} is on a file system without it ({})", path, found->name);
  }

  static std::vector<Part> cut(std::span<const Piece> pieces, std::span<std::byte> out) {
    std::vector<Part> parts;
    for (const Piece& piece : pieces) {
      const auto* file = static_cast<const FileBytes*>(piece.source);
      for (std::uint64_t at = 0; at < piece.bytes;) {
        const std::size_t bytes = std::min<std::uint64_t>(cufile::Readers::kMostBytes, piece.bytes - at);
        parts.push_back({file, piece.offset + at, out.first(bytes)});
        out = out.subspan(bytes);
        at += bytes;
      }
    }
    return parts;
  }

  void pread(const Part& part) const {
    environment_.memory->fill(part.out, [&](std::span<std::byte> out) { part.file->read(part.offset, out); });
  }

  void remember(const Part& part, const Answer& answer) const {
    const std::lock_guard lock(mutex_);
    if (answer.outcome == Outcome::refused) files_[part.file->path()] = answer.reason;
    if (answer.outcome == Outcome::silent)
      reason_ = fmt::format("it gave no answer for {:.3g} s",
                            1e-3 * static_cast<double>(environment_.patience.count()));
  }

  CufileEnvironment environment_;
  mutable std::mutex mutex_;
  mutable bool opened_ = false;
  mutable cufile::Library library_;
  mutable std::unique_ptr<cufile::Readers> readers_;
  mutable std::string reason_;                                       // why nothing can be read
  mutable std::map<std::string, std::optional<std::string>> files_;  // why not, by path; "": it can
};

class HostSlabMemory final : public SlabMemory {
 public:
  std::byte* allocate(std::size_t bytes) override {
    return static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes));
  }
  void release(std::byte* slab) noexcept override { std::free(slab); }
  void copy(const std::byte* from, std::span<std::byte> out) override {
    std::copy_n(from, out.size(), out.data());
  }
};

}  // namespace

SlabMemory& host_slab_memory() {
  static auto* memory = new HostSlabMemory;  // slabs of threads that hang live on
  return *memory;
}

std::unique_ptr<const Engine> make_cufile_engine(const CufileEnvironment& environment) {
  return std::make_unique<const CufileEngine>(environment);
}

// Never destroyed: its threads may wait for the library.
const Engine& cufile_engine() {
  static const auto* engine = new CufileEngine({});
  return *engine;
}

Probe probe(const Engine& engine, const fs::path& path) {
  constexpr std::uint64_t kRange = std::uint64_t{1} << 20, kRanges = 4;
  const FileBytes file(path.string());
  Probe result;
  std::vector<std::byte> by_engine(kRange), by_pread(kRange);
  double seconds = 0, pread_seconds = 0;
  std::uint64_t bytes = 0;
  const auto timed = [](double& sum, const auto& action) {
    const auto begin = std::chrono::steady_clock::now();
    action();
    sum += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  for (std::uint64_t i = 0; i < kRanges; ++i) {
    const std::uint64_t offset = file.size() / kRanges * i;
    const std::uint64_t size = std::min(kRange, file.size() - offset);
    const Piece piece{.source = &file, .offset = offset, .bytes = size};
    const auto mine = std::span(by_engine).first(size), theirs = std::span(by_pread).first(size);
    timed(seconds, [&] { engine.read({&piece, 1}, mine); });
    timed(pread_seconds, [&] { file.read(offset, theirs); });
    if (!std::ranges::equal(mine, theirs))
      result.fault =
          fmt::format("of {}, {} bytes from {} on, it brings others than pread", path.string(), size, offset);
    bytes += size;
  }
  result.bytes_per_second = static_cast<double>(bytes) / std::max(seconds, 1e-9);
  result.pread_bytes_per_second = static_cast<double>(bytes) / std::max(pread_seconds, 1e-9);
  return result;
}

}  // namespace bunchtrain::data::io
