// SPDX-License-Identifier: Apache-2.0
#include "network_agreement.hpp"

#include <algorithm>
#include <sstream>
#include <string>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"

namespace bunchtrain::parallel {

namespace {

/// One line per tensor: name, shape, dtype.
std::string describe(const std::vector<tensor::NamedParameter>& tensors) {
  std::ostringstream text;
  for (const auto& [name, tensor] : tensors)
    text << name << ' ' << tensor.sizes() << ' ' << tensor.dtype() << '\n';
  return text.str();
}

std::string first_difference(const std::string& ours, const std::string& theirs) {
  std::istringstream first(ours);
  std::istringstream second(theirs);
  std::string line;
  std::string other;
  while (true) {
    const bool has_line = static_cast<bool>(std::getline(first, line));
    const bool has_other = static_cast<bool>(std::getline(second, other));
    if (!has_line) line = "nothing more";
    if (!has_other) other = "nothing more";
    if (line != other || (!has_line && !has_other)) return "\"" + line + "\" against \"" + other + "\"";
  }
}

}  // namespace

void require_same_network(const comm::Communicator& communicator,
                          const std::vector<tensor::NamedParameter>& tensors) {
  const auto& comm = communicator.control();
  if (comm.size() == 1) return;
  const std::string text = describe(tensors);
  const auto hashes = comm.all_gather(hash_hex(text));
  const auto other = std::ranges::find_if(hashes, [&](const auto& hash) { return hash != hashes.front(); });
  if (other == hashes.end()) return;
  const auto texts = comm.all_gather(text);
  const auto rank = static_cast<std::size_t>(other - hashes.begin());
  throw ConfigError("ranks 0 and " + std::to_string(rank) +
                    " built different networks: " + first_difference(texts.front(), texts[rank]) +
                    "; all ranks must be given the same options");
}

}  // namespace bunchtrain::parallel
