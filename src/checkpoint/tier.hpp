// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One folder of snapshots as its only writer sees it.

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "bunchtrain/checkpoint/store.hpp"
#include "snapshot_folders.hpp"

namespace bunchtrain::checkpoint {

/// What became known of a snapshot, in its manifest.
void add_judgement(Manifest& manifest, const Judgement& judgement);

/// Publishes, changes and removes snapshots. What is there is read once per save (`begin_save`) and known from then on. Not
/// collective, not thread-safe.
class Tier {
 public:
  Tier(std::filesystem::path folder, const StoreOptions& options)
      : folder_(std::move(folder)), options_(options) {}

  /// Reads the inventory. Returns the next sequence number.
  std::int64_t look();
  /// Removes leftovers and makes the folder that the snapshot of `step` is written in. @throws IoError, CheckpointError
  void make_place(std::int64_t step);
  /// Both.
  std::int64_t begin_save(std::int64_t step);
  /// Writes the manifest into the folder that `begin_save` made, moves that to its place, sets the manifest's hash.
  void publish(Manifest& manifest);
  /// Adds what became known to the snapshot of `step`.
  void judge(std::int64_t step, const Judgement& judgement);
  /// Points to the latest and the best, removes what no rule keeps. What fails is a warning.
  void tidy();
  /// The removing alone, and not of the snapshot of `but`.
  void prune(std::int64_t but = -1);
  /// Removes what killed saves left, then `tidy`.
  void tidy_up();
  /// What is known to be there; read now by who never saved.
  const Inventory& inventory();

  const std::filesystem::path& folder() const noexcept { return folder_; }

 private:
  void point(std::string_view pointer, const Manifest& target);
  void remove(const std::filesystem::path& snapshot);
  // What must not stop a training whose snapshot is safe already.
  void try_to(std::string_view doing, const std::function<void()>& action) const;

  std::filesystem::path folder_;
  StoreOptions options_;
  Inventory inventory_;
  bool known_ = false;  ///< whether the inventory is kept up to date here
  std::map<std::string, std::string, std::less<>>
      pointed_;  ///< what the pointer files say since we wrote them
};

}  // namespace bunchtrain::checkpoint
