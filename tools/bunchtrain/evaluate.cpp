// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/app/evaluate.hpp"

#include <fmt/format.h>

#include "bunchtrain/app/run.hpp"
#include "bunchtrain/train/evaluation.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {

int evaluate(int argc, char** argv) {
  const app::Program program{.name = "bunchtrain evaluate",
                             .summary = "Applies the best checkpoint of a run (--run) to files (--data).",
                             .options = app::evaluate_options()};
  return app::run(argc, argv, program, [](train::Session& session) {
    const app::EvaluateResult result = app::evaluate(session);
    if (!session.is_root()) return;
    if (result.metrics) {
      fmt::print("{}", train::format_results(*result.metrics));
    } else {
      fmt::print("no labels in the data: scores only\n");
    }
    fmt::print("scores  {}\ncurves  {}\n", result.scores.string(),
               result.metrics ? result.curves.string() : "-");
  });
}

}  // namespace bunchtrain::tool
