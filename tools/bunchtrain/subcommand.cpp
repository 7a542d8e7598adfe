// SPDX-License-Identifier: Apache-2.0
#include "subcommand.hpp"

#include <fmt/format.h>

#include "bunchtrain/app/run.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::tool {

int run_subcommand(config::Options options, int argc, char** argv,
                   const std::function<void(const config::Options&)>& body) {
  try {
    const std::string text = options.parse(argc, argv);
    if (text.empty()) body(options);
    fmt::print("{}", text);
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "{}: error: {}\n", options.program(), error.what());
    return app::kExitUsage;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: error: {}\n", options.program(), error.what());
    return 1;
  }
}

}  // namespace bunchtrain::tool
