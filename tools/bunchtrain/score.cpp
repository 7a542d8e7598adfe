// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/jet_tagging/score.hpp"

#include <fmt/format.h>

#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/device/thread_budget.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {

int score(int argc, char** argv) {
  config::Options options(
      "bunchtrain score",
      "Scores files by a bundle, without MPI: the scores that `bunchtrain evaluate` writes, and nothing else.");
  options.declare(
      {{"bundle", std::string{}, "folder of the bundle", "FOLDER"},
       {"data", std::vector<std::string>{}, "HDF5 files to score; NAME=FILE: jets of that class",
        "[NAME=]FILE..."},
       {"output", std::string{}, "where the scores go; empty = scores.h5 beside the bundle", "FILE"},
       {"batch", std::int64_t{256}, "jets per pass"},
       {"force", false, "replace a file that something else wrote"},
       {"io",
        std::string{"auto"},
        "what fetches the bytes of data files: auto takes io_uring for files larger than memory",
        "",
        {"auto", "pread", "io_uring", "cufile", "hdf5"}},
       {"hdf5-plugins", false, "allow HDF5 filter plug-ins, which load code that a file names"}});
  return run_subcommand(std::move(options), argc, argv, [](const config::Options& given) {
    const jet_tagging::ScoreResult result =
        jet_tagging::score({.bundle = given.get<std::string>("bundle"),
                            .data = given.get<std::vector<std::string>>("data"),
                            .output = given.get<std::string>("output"),
                            .batch = given.get<std::int64_t>("batch"),
                            .threads = device::make_thread_budget(device::observe_threads(1, 0)).loader,
                            .force = given.get<bool>("force"),
                            .hdf5_plugins = given.get<bool>("hdf5-plugins"),
                            .io = data::parse_io_engine(given.get<std::string>("io"))});
    fmt::print("data     {} ({} jets)\nscores   {}\n", result.data, format_integer(result.jets),
               result.scores.string());
  });
}

}  // namespace bunchtrain::tool
