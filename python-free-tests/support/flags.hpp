// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The options of a program as its user gives them.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "bunchtrain/app/session_options.hpp"
#include "bunchtrain/app/standard_options.hpp"

namespace bunchtrain::test {

/// The standard options of program "toy", and `more`, which take the place of standard ones of their names.
inline config::Options parse_flags(std::vector<std::string> flags,
                                   std::vector<config::OptionSpec> more = {}) {
  config::Options options("toy", "A test.");
  std::vector<config::OptionSpec> all = app::standard_options();
  std::erase_if(all, [&](const config::OptionSpec& spec) {
    return std::ranges::find(more, spec.name, &config::OptionSpec::name) != more.end();
  });
  options.declare(std::move(all));
  options.declare(std::move(more));
  flags.insert(flags.begin(), "toy");
  std::vector<const char*> argv;
  for (const auto& flag : flags) argv.push_back(flag.c_str());
  options.parse(static_cast<int>(argv.size()), argv.data());
  return options;
}

}  // namespace bunchtrain::test
