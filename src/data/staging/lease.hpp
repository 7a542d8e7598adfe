// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which process of a node writes into a folder of copies.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "bunchtrain/core/process.hpp"

namespace bunchtrain::data {

struct LeaseHolder {
  ProcessIdentity process;
  std::string token;  ///< another one for each lease
};

/// The right to write, for as long as this lives. Of a process that was killed it ends with the process, as far as this
/// one can see it, else when the file has not been touched for a minute.
class Lease {
 public:
  /// Null while a living process holds it. @throws IoError, CheckpointError if the folder cannot be written
  static std::unique_ptr<Lease> take(const std::filesystem::path& folder);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  const std::string& token() const noexcept { return token_; }
  /// Tells those who cannot see this process that it lives. @return false if another has taken over
  bool beat() const;

 private:
  Lease(std::filesystem::path file, std::string token);
  std::filesystem::path file_;
  std::string token_;
};

/// Nothing if nobody does, or the file says nothing that can be read.
std::optional<LeaseHolder> lease_holder(const std::filesystem::path& folder);

}  // namespace bunchtrain::data
