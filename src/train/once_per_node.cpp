// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/detail/once_per_node.hpp"

#include <utility>

namespace bunchtrain::train {

namespace {

/// The first rank that is on this rank's node.
int first_on_node(const mpi::Comm& ranks) {
  const std::string& here = ranks.process_of(ranks.rank()).machine;
  int first = 0;
  while (ranks.process_of(first).machine != here) ++first;
  return first;
}

}  // namespace

std::vector<std::string> once_per_node(const mpi::Comm& ranks,
                                       const std::function<std::vector<std::string>()>& make) {
  std::vector<std::string> texts;
  ranks.together([&] {
    if (ranks.local_rank() == 0) texts = make();
  });
  if (ranks.size() == 1) return texts;
  mpi::Comm node = ranks.split(first_on_node(ranks), ranks.rank());
  texts.resize(std::stoul(node.broadcast(std::to_string(texts.size()))));
  for (std::string& text : texts) text = node.broadcast(std::move(text));
  node.close();
  return texts;
}

}  // namespace bunchtrain::train
