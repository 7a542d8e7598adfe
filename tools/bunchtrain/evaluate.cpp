// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "bunchtrain/app/jet_tagging.hpp"
#include "bunchtrain/app/run.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {

int evaluate(int argc, char** argv) {
  app::Program program{.name = "bunchtrain evaluate",
                       .summary =
                           "Scores files by a snapshot of a run: bunchtrain evaluate RUN --data FILES, or "
                           "RUN --split valid for the part of its own files that the run kept.",
                       .options = app::evaluate_specs()};
  program.options.push_back({"run",
                             std::vector<std::string>{},
                             "run folder or bundle; of several the probabilities are averaged",
                             "RUN...",
                             {},
                             true});
  program.options.push_back({"data", std::vector<std::string>{},
                             "HDF5 files to score; NAME=FILE: jets of that class", "[NAME=]FILE..."});
  program.options.push_back({"batch", std::int64_t{256}, "jets per pass over all ranks"});
  program.without = app::standard_options_but({"run", "data", "batch", "hdf5-plugins", "io", "decode",
                                               "precision", "kernels", "device", "threads", "loader-threads",
                                               "backend", "checked", "timeout", "log-level"});
  program.without.push_back("evaluate");
  return app::run(argc, argv, program, [](train::Session& session) {
    const jet_tagging::EvaluateResult result = jet_tagging::evaluate(session, app::evaluate_options(session));
    if (session.is_root()) fmt::print("{}", jet_tagging::format_evaluation(result));
  });
}

}  // namespace bunchtrain::tool
