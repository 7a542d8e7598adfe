// SPDX-License-Identifier: Apache-2.0
#include "subcommand.hpp"

#include <fmt/format.h>

#include "bunchtrain/app/run.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::tool {

void require_out(const config::Options& given) {
  if (given.get<std::string>("out").empty())
    throw ConfigError("--out FILE is missing: the name of the HDF5 file to write");
}

int run_with_code(config::Options options, int argc, char** argv,
                  const std::function<int(const config::Options&)>& body) {
  try {
    const std::string text = options.parse(argc, argv);
    fmt::print("{}", text);
    return text.empty() ? body(options) : 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: error: {}\n", options.program(), app::describe_error(error));
    return app::exit_code_of(error);
  }
}

int run_subcommand(config::Options options, int argc, char** argv,
                   const std::function<void(const config::Options&)>& body) {
  return run_with_code(std::move(options), argc, argv, [&](const config::Options& given) {
    body(given);
    return 0;
  });
}

}  // namespace bunchtrain::tool
