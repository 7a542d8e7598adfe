// SPDX-License-Identifier: Apache-2.0
#include "lease.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <random>
#include <sstream>
#include <utility>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "io/file_bytes.hpp"

namespace bunchtrain::data {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kSilence{60};

fs::path lease_file(const fs::path& folder) { return folder / "lease"; }

std::string new_token() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}", device(), device());
}

std::chrono::seconds untouched_for(const fs::path& file) {
  std::error_code error;
  const auto touched = fs::last_write_time(file, error);
  if (error) return std::chrono::seconds(0);
  return std::chrono::duration_cast<std::chrono::seconds>(fs::file_time_type::clock::now() - touched);
}

bool is_held(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(lease_file(folder), error)) return false;
  const auto holder = lease_holder(folder);
  const ProcessState state = holder ? state_of(holder->process) : ProcessState::unseen;
  if (state == ProcessState::gone) return false;
  return state != ProcessState::unseen || untouched_for(lease_file(folder)) < kSilence;
}

}  // namespace

std::optional<LeaseHolder> lease_holder(const fs::path& folder) {
  std::ifstream file(lease_file(folder));
  std::string process, token;
  if (!std::getline(file, process) || !std::getline(file, token) || token.empty()) return std::nullopt;
  try {
    return LeaseHolder{.process = ProcessIdentity::from_line(process), .token = token};
  } catch (const DataError&) {
    return std::nullopt;
  }
}

// Looking and writing are one step under a lock that the system takes from a process that dies.
std::unique_ptr<Lease> Lease::take(const fs::path& folder) {
  if (is_held(folder)) return nullptr;
  const int number = ::open((folder / "lease.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  const FileDescriptor lock(number);
  const bool busy = number >= 0 && ::flock(number, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  if (busy || is_held(folder)) return nullptr;
  const std::string token = new_token();
  write_file_atomically(lease_file(folder), fmt::format("{}\n{}\n", this_process().to_line(), token));
  return std::unique_ptr<Lease>(new Lease(lease_file(folder), token));
}

Lease::Lease(fs::path file, std::string token) : file_(std::move(file)), token_(std::move(token)) {}

Lease::~Lease() {
  const auto holder = lease_holder(file_.parent_path());
  if (holder && holder->token == token_) ::unlink(file_.c_str());
}

bool Lease::beat() const {
  const auto holder = lease_holder(file_.parent_path());
  if (!holder || holder->token != token_) return false;
  return ::utimensat(AT_FDCWD, file_.c_str(), nullptr, 0) == 0;
}

}  // namespace bunchtrain::data
