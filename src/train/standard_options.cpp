// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/standard_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {

std::vector<config::OptionSpec> standard_options() {
  using Integer = std::int64_t;
  using Text = std::string;
  using Texts = std::vector<std::string>;
  return {
      {"data", Texts{}, "HDF5 files to train on; globs are expanded; NAME=FILE: jets of that class",
       "[NAME=]FILE..."},
      {"valid", Texts{}, "HDF5 files to validate on; without them a part of --data is split off",
       "[NAME=]FILE..."},
      {"card", Text{"auto"}, "data card: a built-in name, a .toml file, or auto to recognise the layout",
       "NAME|FILE"},
      {"particles", Integer{0}, "padded length, particles per jet; 0 = the card's", "P"},
      {"classes",
       Texts{},
       "order of the classes: b,c,light; empty = the card's",
       "NAME,NAME...",
       {},
       false,
       true},
      {"valid-fraction", 0.0, "share of --data kept for validation; 0 = the card's", "X"},
      {"valid-weights",
       Text{"card"},
       "weights of the validation loss: card = as in training, none = every sample counts once",
       "",
       {"card", "none"}},
      {"hdf5-plugins", false, "allow HDF5 filter plug-ins (they load code that a file names)"},

      {"epochs", Integer{10}, "passes over the training data"},
      {"patience", Integer{0},
       "finish the run after so many epochs without a better validation score; 0 = never"},
      {"batch", Integer{256}, "samples per optimizer step over all ranks"},
      {"reference-batch", Integer{256},
       "batch that --learning-rate belongs to; the rate scales with batch / reference; 0 = any batch"},
      {"learning-rate", 5e-3, "peak learning rate at the reference batch"},
      {"weight-decay", 1e-4, "decoupled weight decay"},
      {"optimizer", Text{"adamw"}, "update rule", "", {"adamw", "adam", "sgd", "ranger", "rmsprop"}},
      {"schedule",
       Text{"one-cycle"},
       "learning rate over the run",
       "",
       {"constant", "step", "cosine", "one-cycle", "flat-then-decay"}},
      {"warmup-steps", Integer{0}, "linear warm-up in optimizer steps (not for one-cycle)"},
      {"clip-norm", 0.0, "largest global gradient norm; 0 = no clipping"},
      {"accumulate", Integer{1}, "passes per optimizer step (less memory, same batch)"},
      {"sync-batch-norm", false,
       "batch-norm statistics over all ranks: any number of ranks computes the same"},
      {"precision", Text{"float32"}, "numbers of the step", "", {"float32", "float64", "tf32", "bfloat16"}},
      {"seed", Integer{1}, "of initial weights, sample order, dropout and splits"},

      {"run", Text{}, "run folder; empty = runs/PROGRAM-DATE-TIME and what makes it unique", "FOLDER"},
      {"resume", false, "go on with the run in the folder; starts afresh if there is none"},
      {"checkpoint-every", Text{},
       "extra snapshots: steps (500) or minutes (10min); one per epoch is always written", "N|Nmin"},
      {"keep-last", Integer{3}, "snapshots kept besides the best one"},

      {"device", Text{"auto"}, "where to compute", "", {"auto", "cpu", "cuda"}},
      {"threads", Integer{0}, "compute threads per rank; 0 = from affinity and ranks"},
      {"loader-threads", Integer{0}, "decode threads per rank; 0 = automatic"},
      {"backend", Text{"auto"}, "collectives", "", {"auto", "mpi", "nccl"}},
      {"collectives", Text{"auto"}, "when gradients are summed", "", {"auto", "after-backward", "buckets"}},
      {"checked", false, "compare every collective between ranks first (slow; finds mismatches)"},
      {"timeout", 600.0,
       "seconds that ranks wait for one another; at start, in steps and snapshots, at the end"},
      {"log-level",
       Text{"info"},
       "what is logged to standard error",
       "",
       {"debug", "info", "warning", "error"}},
  };
}

std::chrono::milliseconds timeout_of(const config::Options& options) {
  const double seconds = options.get<double>("timeout");
  if (!(seconds > 0 && std::isfinite(seconds)))
    throw ConfigError("timeout", fmt::format("{}", seconds), "a positive number of seconds");
  return std::chrono::milliseconds(std::max<std::int64_t>(1, std::llround(std::min(seconds, 1e9) * 1000)));
}

}  // namespace bunchtrain::train
