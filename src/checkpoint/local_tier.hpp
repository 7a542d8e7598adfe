// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Snapshots on the nodes' own disks, and their way into the run folder.

#include <cstdint>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/checkpoint/store.hpp"
#include "tier.hpp"

namespace bunchtrain::checkpoint {

/// A snapshot is published in a folder of each node, which has the files of its own ranks, and counts from then on: it is whole as
/// long as all nodes are there. Then a thread of each rank copies its files into the run folder, one snapshot at a time, always
/// the newest, and once all ranks have, the snapshot is published there as if it had been written there. Ranks that name the same
/// folder on the same host are a node; the first of them leads it and makes, publishes and removes its folders.
///
/// What befalls an upload is a warning: the snapshot stays on the nodes, the next one is tried anew. Collective throughout, in the
/// order of the store's calls.
class LocalTier {
 public:
  /// @param shared the run folder's, which rank 0 alone works in
  LocalTier(comm::Communicator communicator, const StoreOptions& options, Tier& shared);
  ~LocalTier();

  /// @throws ConfigError naming the node whose folder cannot be made or written.
  void require_writable() const;

  /// Makes the nodes' folders that the snapshot of `step` is written in. Returns a sequence number above all that the nodes have.
  std::int64_t begin_save(std::int64_t step);
  /// Where this rank writes it.
  std::filesystem::path partial(std::int64_t step) const;
  /// Publishes it on all nodes and begins its upload as soon as none is in flight. @param mine the files that this rank wrote
  void publish(Manifest& manifest, std::vector<FileEntry> mine);
  void abandon(std::int64_t step);

  bool uploading() const noexcept { return upload_ != nullptr; }
  /// Whether this rank has copied its files, or failed to. Not collective.
  bool uploaded() const;
  /// Waits for the copies, publishes the snapshot in the run folder and goes on with the newest that is not there.
  void finish_upload();
  /// Until the newest is in the run folder, or could not be brought there once more.
  void upload_all();

  /// Adds to the snapshot of `step` where it is. Returns whether some node has it.
  bool judge(std::int64_t step, const Judgement& judgement);
  /// Those of rank 0's node.
  const Inventory& inventory();
  /// At the end of a run: removes the folders, unless something in them is not in the run folder.
  void remove();

  /// Brings the newest snapshot that the nodes have, and the run folder has not, into the run folder. Returns its manifest if
  /// that failed and all nodes have all of its files: then it can be read from there.
  std::optional<Manifest> recover();

 private:
  struct Upload;
  struct Found;
  /// What is to be uploaded next.
  struct Waiting {
    Manifest manifest;
    std::vector<FileEntry> mine;
  };

  const mpi::Comm& control() const { return communicator_.control(); }
  bool is_root() const { return communicator_.rank() == 0; }
  void open(bool create);
  void start();
  bool attempt(const Manifest& manifest, const std::function<void()>& action);
  Found find(std::int64_t sequence, const std::vector<Manifest>& candidates);
  void prune();

  comm::Communicator communicator_;
  StoreOptions options_;
  Tier& shared_;
  bool leads_ = false;         ///< its node
  std::unique_ptr<Tier> own_;  ///< this node's; null as long as no folder is named
  std::unique_ptr<Upload> upload_;
  std::optional<Waiting> next_;
};

}  // namespace bunchtrain::checkpoint
