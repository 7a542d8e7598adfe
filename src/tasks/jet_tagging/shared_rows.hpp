// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Files of jets opened by all ranks, their rows looked through once per node.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bunchtrain/data/jet_dataset.hpp"
#include "bunchtrain/train/detail/once_per_node.hpp"
#include "bunchtrain/train/session.hpp"

namespace bunchtrain::jet_tagging {

/// Opens datasets of jets, on every rank the same in one order.
class SharedRows {
 public:
  /// Of the rank that reads for its node. @param told whether others want to know what it found
  explicit SharedRows(bool told) : told_(told) {}
  /// @param known what it found, in its order
  explicit SharedRows(std::vector<std::string> known) : known_(std::move(known)), reads_(false) {}

  template <class... Card>
  data::JetDataset open(data::JetDatasetOptions options, const Card&... card) {
    if (!reads_) options.known_rows = known_.at(next_++);
    data::JetDataset dataset(std::move(options), card...);
    if (reads_ && told_) known_.push_back(dataset.rows_as_bytes());
    return dataset;
  }
  std::vector<std::string> take() && { return std::move(known_); }

 private:
  std::vector<std::string> known_;
  bool reads_ = true;
  bool told_ = false;
  std::size_t next_ = 0;
};

/// Collective: what `open` makes on every rank, of datasets opened by the `SharedRows` that it gets. It
/// communicates nothing; what it throws on one rank is thrown on all.
template <class Open>
auto open_once_per_node(const train::Session& session, const Open& open) {
  std::optional<decltype(open(std::declval<SharedRows&>()))> opened;
  SharedRows known(train::once_per_node(session.control(), [&] {
    SharedRows read(session.control().local_size() > 1);
    opened.emplace(open(read));
    return std::move(read).take();
  }));
  session.control().together([&] {
    if (!opened) opened.emplace(open(known));
  });
  return std::move(*opened);
}

}  // namespace bunchtrain::jet_tagging
