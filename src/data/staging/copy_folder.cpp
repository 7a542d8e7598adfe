// SPDX-License-Identifier: Apache-2.0
#include "copy_folder.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "io/file_bytes.hpp"
#include "record_text.hpp"

namespace bunchtrain::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::string_view kRecord = "record-";
constexpr std::string_view kPartial = ".partial-";
constexpr std::size_t kHashDigits = 32;
constexpr std::size_t kPieceBytes = std::size_t{4} << 20;
constexpr std::size_t kMostNameBytes = 160;  // of a source, in the name of its copy

struct Record {
  std::uint64_t bytes = 0;
  std::string hash;
  std::string token;
};

fs::path record_of(const fs::path& copy) {
  return copy.parent_path() / (std::string(kRecord) + copy.filename().string());
}

bool is_copy(std::string_view name) {
  return name.size() > kHashDigits && name[kHashDigits] == '-' &&
         name.find_first_not_of("0123456789abcdef") == kHashDigits;
}

bool is_partial(std::string_view name) {
  const auto suffix = name.rfind(kPartial);
  return suffix != std::string_view::npos &&
         name.find_first_not_of("0123456789", suffix + kPartial.size()) == std::string_view::npos;
}

std::optional<Record> read_record(const fs::path& copy) {
  const auto text = read_record_text(record_of(copy));
  if (!text) return std::nullopt;
  try {
    return Record{.bytes = text->at("bytes"), .hash = text->at("xxh3"), .token = text->at("checked")};
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

void write_record(const fs::path& copy, const SourceFile& file, const Record& record) {
  const json text = {
      {"source", file.path}, {"bytes", record.bytes}, {"xxh3", record.hash}, {"checked", record.token}};
  write_record_text(record_of(copy), text);
}

bool has_size(const fs::path& copy, std::uint64_t bytes) {
  std::error_code error;
  const auto there = fs::file_size(copy, error);
  return !error && there == bytes;
}

/// Calls `take` with all bytes of the file, in pieces. @return false if `progress` ended it
template <class Take>
bool read_all(const FileBytes& file, const Progress& progress, const Take& take) {
  std::vector<std::byte> piece(std::min<std::uint64_t>(kPieceBytes, file.size()));
  for (std::uint64_t done = 0; done < file.size();) {
    if (!progress(done)) return false;
    const auto bytes = std::span(piece).first(std::min<std::uint64_t>(piece.size(), file.size() - done));
    file.read(done, bytes);
    take(done, bytes);
    done += bytes.size();
  }
  return progress(file.size());
}

}  // namespace

SourceFile look_at_source(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0)
    throw DataError(fmt::format("{}: cannot be looked at: {}", path, std::generic_category().message(errno)));
  SourceFile file{.path = path,
                  .bytes = static_cast<std::uint64_t>(status.st_size),
                  .modified = status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec,
                  .inode = status.st_ino,
                  .copy = {}};
  std::error_code error;
  const fs::path whole = fs::weakly_canonical(path, error);
  const std::string name = fs::path(path).filename().string();
  file.copy = fmt::format("{}-{}",
                          hash_hex(fmt::format("{}\n{}\n{}\n{}", error ? path : whole.string(), file.bytes,
                                               file.modified, file.inode)),
                          name.substr(name.size() - std::min(name.size(), kMostNameBytes)));
  return file;
}

std::optional<std::vector<StoredCopy>> make_room(const std::vector<StoredCopy>& there,
                                                 const std::set<std::string>& wanted, std::uint64_t bytes,
                                                 const Room& room, std::uint64_t free) {
  std::uint64_t taken = 0;
  for (const StoredCopy& copy : there) taken += copy.bytes;
  const auto fits = [&] {
    return free >= room.floor && free - room.floor >= bytes &&
           (room.capacity == 0 || (bytes <= room.capacity && taken <= room.capacity - bytes));
  };
  std::vector<StoredCopy> victims;
  for (const StoredCopy& copy : there) {
    if (fits()) break;
    if (wanted.contains(copy.name)) continue;
    victims.push_back(copy);
    taken -= copy.bytes;
    free += copy.bytes;
  }
  if (!fits()) return std::nullopt;
  return victims;
}

std::vector<StoredCopy> choose_victims(const std::vector<StoredCopy>& there,
                                       const std::vector<std::string>& order, std::uint64_t bytes) {
  std::vector<StoredCopy> by_next_use = there;
  const auto next_use = [&](const StoredCopy& copy) { return std::ranges::find(order, copy.name); };
  std::ranges::stable_sort(by_next_use, std::ranges::greater{}, next_use);
  std::vector<StoredCopy> victims;
  for (std::uint64_t freed = 0; const StoredCopy& copy : by_next_use) {
    if (freed >= bytes) break;
    victims.push_back(copy);
    freed += copy.bytes;
  }
  return victims;
}

void CopyFolder::clean() const {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename().string();
    const bool of_none =
        name.starts_with(kRecord) && !fs::exists(folder_ / name.substr(kRecord.size()), error);
    if (is_partial(name) || of_none || (is_copy(name) && !read_record(entry.path())))
      fs::remove(entry.path(), error);
  }
}

std::vector<StoredCopy> CopyFolder::copies() const {
  std::vector<StoredCopy> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename().string();
    if (!is_copy(name) || is_partial(name)) continue;
    std::error_code gone;
    const auto bytes = entry.file_size(gone);
    if (!gone) found.push_back({.name = name, .bytes = bytes});
  }
  std::ranges::sort(found, {}, &StoredCopy::name);
  return found;
}

std::uint64_t CopyFolder::free_bytes() const {
  struct statvfs status {};
  if (::statvfs(folder_.c_str(), &status) != 0) return 0;
  return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

bool CopyFolder::is_checked(const SourceFile& file, const std::string& token) const {
  if (!has_size(path_of(file), file.bytes)) return false;
  const auto record = read_record(path_of(file));
  return record && record->bytes == file.bytes && record->token == token;
}

bool CopyFolder::has_record(const SourceFile& file) const {
  const auto record = read_record(path_of(file));
  return record && record->bytes == file.bytes;
}

Checked CopyFolder::check(const SourceFile& file, const std::string& token, const Progress& progress) const {
  const fs::path copy = path_of(file);
  auto record = read_record(copy);
  try {
    Hasher hasher;
    const FileBytes bytes(copy.string());
    if (!read_all(bytes, progress, [&](std::uint64_t, auto piece) { hasher.update(piece); }))
      return Checked::ended;
    if (record && record->hash == hasher.hex() && bytes.size() == file.bytes) {
      record->token = token;
      write_record(copy, file, *record);
      return Checked::good;
    }
  } catch (const Error&) {
    // Whatever it is, it is no copy that could be read.
  }
  remove(file.copy);
  return Checked::bad;
}

void CopyFolder::vouch(const SourceFile& file, const std::string& token) const {
  auto record = read_record(path_of(file));
  if (!record || record->bytes != file.bytes) return;
  record->token = token;
  write_record(path_of(file), file, *record);
}

bool CopyFolder::copy(const SourceFile& file, const std::string& token, const Progress& progress) const {
  const FileBytes source(file.path);
  AtomicFile out(path_of(file));
  const bool whole = read_all(source, progress, [&](std::uint64_t done, auto piece) {
    if (before_copied_piece()) before_copied_piece()(done);
    out.write(piece);
  });
  if (!whole) return false;
  if (look_at_source(file.path) != file)
    throw DataError(
        fmt::format("{}: changed while it was copied; let nobody write it while it is read", file.path));
  const Record record{.bytes = out.bytes(), .hash = out.hash(), .token = token};
  out.commit();
  write_record(path_of(file), file, record);
  return true;
}

void CopyFolder::remove(const std::string& copy) const {
  std::error_code error;
  fs::remove(record_of(folder_ / copy), error);
  fs::remove(folder_ / copy, error);
}

std::function<void(std::uint64_t)>& before_copied_piece() {
  static std::function<void(std::uint64_t)> hook;
  return hook;
}

}  // namespace bunchtrain::data
