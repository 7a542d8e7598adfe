// SPDX-License-Identifier: Apache-2.0
#include "rank_agreement.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/core/version.hpp"
#include "bunchtrain/train/detail/same_options.hpp"

namespace bunchtrain::train {
namespace {

/// Names and values without ambiguity: what is hashed.
std::string canonical(std::span<const Fact> facts) {
  std::string text;
  for (const auto& fact : facts)
    text += fmt::format("{} {} {} {}\n", fact.name.size(), fact.value.size(), fact.name, fact.value);
  return text;
}

/// "rank 1 has batch = 8 (--batch), rank 0 has 256 (default)" for the first fact that differs.
std::string first_difference(const std::vector<Fact>& of_root, const std::vector<Fact>& of_other, int other) {
  for (const auto& fact : of_other) {
    const Fact* root = find_fact(of_root, fact.name);
    if (!root) return fmt::format("rank {} has {} = {}, rank 0 has none", other, fact.name, fact.value);
    if (*root != fact)
      return fmt::format("rank {} has {} = {}, rank 0 has {}", other, fact.name, shown_beside(fact, *root),
                         shown_beside(*root, fact));
  }
  for (const auto& fact : of_root)
    if (!find_fact(of_other, fact.name))
      return fmt::format("rank {} has no {}, rank 0 has {}", other, fact.name, fact.value);
  return fmt::format("ranks {} and 0 declare their options in another order", other);
}

}  // namespace

void require_agreement(const mpi::Comm& control, std::span<const Fact> facts, std::string_view advice) {
  if (control.size() == 1) return;
  const auto hashes = control.all_gather(hash_hex(canonical(facts)));
  const auto other = std::ranges::find_if(hashes, [&](const auto& hash) { return hash != hashes.front(); });
  if (other == hashes.end()) return;
  const auto rank = static_cast<std::size_t>(other - hashes.begin());
  const auto texts = control.all_gather(to_json(facts));
  throw ConfigError(fmt::format(
      "{}; {}",
      first_difference(parse_facts(texts.front()), parse_facts(texts[rank]), static_cast<int>(rank)),
      advice));
}

void require_same_options(const mpi::Comm& control, const config::Options& options) {
  const BuildInfo build = build_info();
  std::vector<Fact> facts = {{"program", options.program()},
                             {"bunchtrain", fmt::format("{} ({})", build.version, build.git_commit)}};
  for (const auto& name : options.names())
    if (options.spec(name).scope != config::OptionScope::rank)
      facts.push_back({name, options.text(name), options.origin(name)});
  require_agreement(
      control, facts,
      "give all ranks the same program and options (mpirun exports a variable to other hosts only "
      "with -x NAME)");
}

}  // namespace bunchtrain::train
