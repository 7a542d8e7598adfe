// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/repack.hpp"

#include <fmt/format.h>

#include <chrono>
#include <optional>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/shell_word.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/report/progress.hpp"
#include "parse_number.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {
namespace {

/// A name or a file; what cannot be read is said before hours of work.
std::string checked_card(const std::string& card) {
  if (!card.empty()) (void)features::kind_of_card(card);
  return card;
}

data::RepackOptions options_of(const config::Options& given) {
  const auto seed = given.get<std::string>("shuffle-rows"), chunk_rows = given.get<std::string>("chunk-rows");
  data::RepackOptions options{
      .files = given.get<std::vector<std::string>>("file"),
      .out = given.get<std::string>("out"),
      .datasets = given.get<std::vector<std::string>>("datasets"),
      .row_splits = given.get<std::string>("row-splits"),
      .shards = given.get<std::int64_t>("shards"),
      .alignment = parse_bytes("align", given.get<std::string>("align")),
      .chunk_rows =
          chunk_rows == "auto" ? 0 : parse_number("chunk-rows", chunk_rows, "rows from 1 on, or auto"),
      .filter = data::parse_repack_filter(given.get<std::string>("filter")),
      .byte_shuffle = given.get<std::string>("byte-shuffle") == "on",
      .card = checked_card(given.get<std::string>("card")),
      .memory_bytes = parse_bytes("memory", given.get<std::string>("memory")),
      .force = given.get<bool>("force")};
  if (!seed.empty())
    options.seed = static_cast<std::uint64_t>(parse_number("shuffle-rows", seed, "a whole number from 0 on"));
  return options;
}

void repack_files(const config::Options& given) {
  data::RepackOptions options = options_of(given);
  const auto begin = std::chrono::steady_clock::now();
  std::optional<report::Progress> progress(std::in_place, report::ProgressOptions{.samples = "rows"});
  options.progress = [&](std::int64_t done, std::int64_t total) {
    progress->update_phase("repacking", done, total);
  };
  const data::RepackResult result = data::repack(options);
  progress.reset();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const std::string elements = result.elements > 0 ? fmt::format(" of {} hits", result.elements) : "";
  fmt::print("{}: {} rows{} in {} shards, {:.3g} GB of {:.3g} GB, in {:.1f} s\n", result.manifest.string(),
             result.rows, elements, options.shards, static_cast<double>(result.bytes_written) / 1e9,
             static_cast<double>(result.bytes_read) / 1e9, seconds);
  if (result.kept_shards > 0) fmt::print("  {} shards were finished before\n", result.kept_shards);
  if (!result.plugin.empty())
    fmt::print("  other programs read them with HDF5's plug-in {} alone: pip install hdf5plugin\n",
               result.plugin);
  fmt::print("  --data {}\n", shell_word(result.manifest.string()));
}

}  // namespace

int repack(int argc, char** argv) {
  config::Options options(
      "bunchtrain repack",
      "Writes HDF5 files again so that they are read fast: rows shuffled once, whole rows in "
      "aligned chunks, shards with a manifest.");
  options.declare(
      {{"file", std::vector<std::string>{}, "HDF5 files of one layout", "FILE...", {}, true},
       {"out", std::string{}, "folder for shards and manifest.json", "FOLDER"},
       {"datasets",
        std::vector<std::string>{},
        "which are written; empty = all",
        "NAME,NAME...",
        {},
        false,
        true},
       {"row-splits", std::string{},
        "dataset that says which hits, one behind another, belong to which event; empty = as --card says",
        "NAME"},
       {"shards", std::int64_t{1}, "files that the rows are cut into", "N"},
       {"shuffle-rows", std::string{}, "shuffle all rows with this seed; empty = keep their order", "SEED"},
       {"filter", std::string{"none"}, "compression of chunks", "", {"none", "deflate", "zstd", "lz4"}},
       {"byte-shuffle", std::string{"on"}, "HDF5's shuffle filter before the compression", "", {"on", "off"}},
       {"align", std::string{"4k"}, "where datasets and chunks begin in a file: multiples of so many bytes",
        "BYTES"},
       {"chunk-rows", std::string{"auto"}, "rows per chunk; auto = a MiB of the widest dataset", "N"},
       {"card", std::string{}, "data card that the manifest names", "NAME|FILE"},
       {"memory", std::string{"1G"}, "for rows on their way", "BYTES"},
       {"force", false, "replace the shards of another repack"}});
  return run_subcommand(std::move(options), argc, argv, repack_files);
}

}  // namespace bunchtrain::tool
