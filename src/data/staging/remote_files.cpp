// SPDX-License-Identifier: Apache-2.0
#include "remote_files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/core/shell_word.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/data/remote_files.hpp"
#include "hdf5_library.hpp"
#include "io/file_bytes.hpp"
#include "io/file_stamp.hpp"
#include "record_text.hpp"

namespace bunchtrain::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::string_view kScheme = "root://";
constexpr std::size_t kMostNameBytes = 160;
constexpr int kNotFound = 127;

struct Keeping {
  std::mutex mutex;
  fs::path folder;
  Logger logger;
};

Keeping& keeping() {
  static Keeping keeping;
  return keeping;
}

/// Held by one process of the node at a time; the system takes it from the dead.
class NodeLock {
 public:
  explicit NodeLock(const fs::path& file)
      : descriptor_(::open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666)) {
    if (descriptor_.number() < 0)
      throw ConfigError(
          "stage", file.parent_path().string(),
          fmt::format("a folder that can be written to ({})", std::generic_category().message(errno)));
    while (::flock(descriptor_.number(), LOCK_EX) != 0 && errno == EINTR) {
    }
  }

 private:
  FileDescriptor descriptor_;
};

/// What is known of a copy: a file that has the stamp has the checksum.
struct Record {
  std::uint64_t bytes = 0, inode = 0;
  std::int64_t modified = 0;
  std::string hash;
};

fs::path record_of(const fs::path& copy) { return copy.string() + ".record"; }

std::optional<Record> read_record(const fs::path& copy) {
  const auto text = read_record_text(record_of(copy));
  if (!text) return std::nullopt;
  try {
    return Record{.bytes = text->at("bytes"),
                  .inode = text->at("inode"),
                  .modified = text->at("modified"),
                  .hash = text->at("xxh3")};
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

std::optional<FileStamp> stamp_of(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return std::nullopt;
  return FileStamp::of(status);
}

void write_record(const fs::path& copy, const std::string& url, const std::string& hash) {
  const auto stamp = stamp_of(copy);
  if (!stamp) return;  // somebody empties the folder: the next job copies again
  const json text = {{"source", url},
                     {"bytes", stamp->bytes},
                     {"inode", stamp->inode},
                     {"modified", stamp->modified_ns},
                     {"xxh3", hash}};
  write_record_text(record_of(copy), text);
}

/// Reads a copy that has been touched since its checksum was taken once more.
bool is_whole(const fs::path& copy, const std::string& url) {
  const auto record = read_record(copy);
  const auto stamp = stamp_of(copy);
  if (!record || !stamp || stamp->bytes != record->bytes) return false;
  if (stamp->inode == record->inode && stamp->modified_ns == record->modified) return true;
  if (hash_file(copy) != record->hash) return false;
  write_record(copy, url, record->hash);
  return true;
}

/// Exit code of xrdcp, or 128 and the signal that ended it. @param log gets its words
int run_xrdcp(const std::string& url, const fs::path& to, const fs::path& log) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0666);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  std::string words[] = {"xrdcp", "-N", "-f", url, to.string()};
  char* const arguments[] = {words[0].data(), words[1].data(), words[2].data(),
                             words[3].data(), words[4].data(), nullptr};
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, "xrdcp", &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error == ENOENT) return kNotFound;
  if (error != 0)
    throw DataError(
        fmt::format("{}: xrdcp cannot be started: {}", url, std::generic_category().message(error)));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) throw DataError(fmt::format("{}: xrdcp was lost", url));
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/// The last line that says something.
std::string last_words(const fs::path& log) {
  std::ifstream file(log);
  std::string line, last = "it said nothing";
  while (std::getline(file, line))
    if (!line.empty()) last = line;
  return last;
}

void require_success(const std::string& url, int code, const fs::path& log) {
  if (code == 0) return;
  if (code == kNotFound)
    throw ConfigError(
        "data", url,
        fmt::format("a file of this machine: xrdcp, which would copy it, is not in PATH; install XRootD's "
                    "client (Debian: xrootd-client), or copy the file yourself and name the copy"));
  throw DataError(
      fmt::format("{}: xrdcp failed ({}): {}; try `xrdcp {} FILE`", url,
                  code > 128 ? fmt::format("signal {}", code - 128) : fmt::format("exit code {}", code),
                  last_words(log), shell_word(url)));
}

/// HDF5 knows where a file ends: a copy that ends before is none.
void require_whole_file(const std::string& url, const fs::path& file) {
  try {
    const hdf5::LibraryLock lock;
    const hdf5::File opened = hdf5::open_read_only(file.string());
  } catch (const DataError& error) {
    throw DataError(
        fmt::format("{}: what xrdcp has written is no whole HDF5 file ({}); try again, or look at `xrdfs` "
                    "whether the file is one",
                    url, error.message()));
  }
}

void remove_partial_copies(const fs::path& copy) {
  std::error_code error;
  const std::string begin = copy.filename().string() + ".partial-";
  for (const auto& entry : fs::directory_iterator(copy.parent_path(), error))
    if (entry.path().filename().string().starts_with(begin)) fs::remove(entry.path(), error);
}

void make_copy(const std::string& url, const fs::path& copy, const Logger& logger) {
  remove_partial_copies(copy);
  logger.info(fmt::format("copying {} to {} by xrdcp", url, copy.parent_path().string()));
  AtomicFile out(copy);
  const fs::path log = out.temporary_path().string() + ".log";
  const struct Removal {
    fs::path file;
    ~Removal() {
      std::error_code error;
      fs::remove(file, error);
    }
  } removal{log};
  require_success(url, run_xrdcp(url, out.temporary_path(), log), log);
  require_whole_file(url, out.temporary_path());
  const std::string hash = hash_file(out.temporary_path());
  out.commit();
  write_record(copy, url, hash);
}

void require_single_data_file(const std::string& url) {
  if (url.find_first_of("*[") != std::string::npos)
    throw ConfigError("data", url, "single files: patterns are not looked up on servers");
  if (url.substr(0, url.find('?')).ends_with(".json"))
    throw ConfigError("data", url, "the shards themselves: a manifest has to lie beside its shards");
}

}  // namespace

bool is_remote_file(std::string_view word) { return word.starts_with(kScheme); }

void keep_remote_files_in(fs::path folder, Logger logger) {
  const std::lock_guard lock(keeping().mutex);
  keeping().folder = std::move(folder);
  keeping().logger = std::move(logger);
}

fs::path local_copy(const std::string& url) {
  require_single_data_file(url);
  const std::lock_guard lock(keeping().mutex);
  if (keeping().folder.empty())
    throw ConfigError(fmt::format(
        "{}: files of XRootD are read from copies; name a folder of each node's own disk for them, where a "
        "program has {}, or copy the file first (`xrdcp {} FILE`) and name the copy",
        url, setting("stage", "FOLDER"), shell_word(url)));
  const fs::path folder = keeping().folder / "bunchtrain-remote";
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    throw ConfigError("stage", keeping().folder.string(),
                      fmt::format("a folder that can be made ({})", error.message()));
  const std::string name = fs::path(url.substr(0, url.find('?'))).filename().string();
  const fs::path copy =
      folder /
      fmt::format("{}-{}", hash_hex(url), name.substr(name.size() - std::min(name.size(), kMostNameBytes)));
  const NodeLock node(copy.string() + ".lock");
  if (!is_whole(copy, url)) make_copy(url, copy, keeping().logger);
  return copy;
}

}  // namespace bunchtrain::data
