// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/app/standard_options.hpp"

#include <utility>

#include "bunchtrain/optim/registry.hpp"

namespace bunchtrain::app {
namespace {

using config::OptionScope;
using config::OptionSpec;
using Integer = std::int64_t;
using Text = std::string;
using Texts = std::vector<std::string>;

/// What files are called differs from rank to rank where each node has its own copies:
/// their content is compared.
std::vector<OptionSpec> data_options() {
  return {
      {.name = "data",
       .default_value = Texts{},
       .help = "HDF5 files to train on; globs are expanded; NAME=FILE: jets of that class",
       .value_name = "[NAME=]FILE...",
       .scope = OptionScope::rank,
       .other_names = {"data-train", "train-data", "training-data", "train", "input", "inputs", "files"}},
      {.name = "valid",
       .default_value = Texts{},
       .help = "HDF5 files to validate on; without them a part of --data is split off",
       .value_name = "[NAME=]FILE...",
       .scope = OptionScope::rank,
       .other_names = {"data-val", "val", "val-data", "valid-data", "validation", "validation-data"}},
      {.name = "card",
       .default_value = Text{"auto"},
       .help = "data card: a built-in name, a .toml file, or auto to recognise the layout",
       .value_name = "NAME|FILE",
       .other_names = {"data-config"}},
      {.name = "particles",
       .default_value = Integer{0},
       .help = "padded length, particles per jet; 0 = the card's",
       .value_name = "P",
       .other_names = {"length", "max-particles", "num-particles"}},
      {.name = "classes",
       .default_value = Texts{},
       .help = "order of the classes: b,c,light; empty = the card's",
       .value_name = "NAME,NAME...",
       .commas = true},
      {.name = "valid-fraction",
       .default_value = 0.0,
       .help = "share of --data kept for validation; 0 = the card's",
       .value_name = "X",
       .other_names = {"val-fraction", "val-split", "validation-split"}},
      {.name = "valid-weights",
       .default_value = Text{"card"},
       .help = "weights of the validation loss: card = as in training, none = every sample counts once",
       .allowed = {"card", "none"}},
      {.name = "hash-data",
       .default_value = false,
       .help = "hash whole files, so that any change in them is noticed (reads everything once more)"},
      {.name = "io",
       .default_value = Text{"auto"},
       .help = "what fetches the bytes of data files: auto takes io_uring for files larger than memory",
       .allowed = {"auto", "pread", "io_uring", "cufile", "hdf5"},
       .scope = OptionScope::rank},
      {.name = "decode",
       .default_value = Text{"auto"},
       .help =
           "what makes inputs of the bytes of files: host, or device = the GPU, from columns that are not compressed; "
           "auto = the host, until GPUs have been measured",
       .allowed = {"auto", "host", "device"},
       .scope = OptionScope::run},
      {.name = "stage",
       .default_value = Text{},
       .help =
           "copy data files to this folder of each node's own disk, in the order of their use, while training reads "
           "them where they are",
       .value_name = "FOLDER",
       .scope = OptionScope::rank,
       .other_names = {"copy-inputs", "cache-dir", "local-cache"}},
      {.name = "stage-size",
       .default_value = Text{},
       .help = "bytes that such copies may take on a node: 200G; empty = what is free but 1 GB",
       .value_name = "BYTES",
       .scope = OptionScope::rank},
      {.name = "hdf5-plugins",
       .default_value = false,
       .help = "allow HDF5 filter plug-ins (they load code that a file names)",
       .scope = OptionScope::run},
  };
}

std::vector<OptionSpec> training_options() {
  return {
      {.name = "epochs",
       .default_value = Integer{10},
       .help = "passes over the training data",
       .other_names = {"num-epochs", "n-epochs", "nepochs", "max-epochs"}},
      {.name = "steps-per-epoch",
       .default_value = Integer{0},
       .help =
           "optimizer steps between validations, in the same order of samples; 0 = one pass over the data",
       .other_names = {"limit-train-batches", "batches-per-epoch", "steps-per-epochs"}},
      {.name = "max-steps",
       .default_value = Integer{0},
       .help = "ends the run after so many optimizer steps, if --epochs does not end it before; 0 = no bound",
       .other_names = {"steps", "num-steps", "n-steps", "iterations", "max-iterations"}},
      {.name = "max-samples",
       .default_value = Integer{0},
       .help = "ends the run before it has trained on more samples, repetitions counted; 0 = no bound",
       .other_names = {"max-jets", "max-events", "samples"}},
      {.name = "patience",
       .default_value = Integer{0},
       .help = "finish the run after so many validations (one per epoch) without a better score; 0 = never",
       .other_names = {"early-stopping", "early-stopping-patience"}},
      {.name = "early-stop",
       .default_value = Text{},
       .help =
           "the same by a metric of the validation, or its loss: auc:5; -NAME: smaller is better, as it is of "
           "a loss",
       .value_name = "METRIC:PATIENCE[:MIN_DELTA]"},
      {.name = "validate-every",
       .default_value = Integer{0},
       .help = "validate, and judge a snapshot, every N steps within an epoch too; 0 = at its end alone",
       .other_names = {"eval-every", "val-check-interval", "eval-steps", "validation-interval"}},
      {.name = "batch",
       .default_value = Integer{256},
       .help = "samples per optimizer step over all ranks",
       .other_names = {"batch-size", "bs", "global-batch", "global-batch-size"}},
      {.name = "reference-batch",
       .default_value = Integer{256},
       .help =
           "batch that --learning-rate belongs to; the rate scales with batch / reference; 0 = any batch"},
      {.name = "learning-rate",
       .default_value = 5e-3,
       .help = "peak learning rate at the reference batch",
       .other_names = {"lr", "start-lr", "base-lr", "max-lr", "peak-lr", "rate", "eta"}},
      {.name = "weight-decay",
       .default_value = 1e-4,
       .help = "weight decay: decoupled of adamw and ranger, added to the gradient of the others",
       .other_names = {"wd"}},
      {.name = "optimizer",
       .default_value = Text{"adamw"},
       .help = "update rule; torch-...: LibTorch's own",
       .allowed = optim::names(),
       .other_names = {"opt", "optim"}},
      {.name = "group",
       .default_value = Texts{},
       .help =
           "parameters whose names match (*.bias) have a rate of their own, a factor of the rate, or weight "
           "decay; may be repeated, the first that matches counts",
       .value_name = "PATTERN:lr=X,weight_decay=X",
       .other_names = {"param-group", "parameter-group", "lr-mult"}},
      {.name = "schedule",
       .default_value = Text{"one-cycle"},
       .help = "learning rate over the run",
       .allowed = {"constant", "step", "cosine", "one-cycle", "flat-then-decay"},
       .other_names = {"scheduler", "lr-scheduler", "lr-schedule"}},
      {.name = "warmup-steps",
       .default_value = Integer{0},
       .help = "linear warm-up in optimizer steps (not for one-cycle)",
       .other_names = {"warmup", "num-warmup-steps"}},
      {.name = "clip-norm",
       .default_value = 0.0,
       .help = "largest global gradient norm; 0 = no clipping",
       .other_names = {"clip", "clip-grad", "grad-clip", "max-norm", "max-grad-norm", "gradient-clip-val"}},
      {.name = "check-finite",
       .default_value = Text{"stop"},
       .help =
           "gradients that are not finite: stop = the run ends; skip = the step is left out, up to 100 in a row",
       .allowed = {"stop", "skip"}},
      {.name = "cuda-graph",
       .default_value = Text{"auto"},
       .help =
           "repeat steps of one shape as a CUDA graph: auto = where the host's launches are what a GPU waits for",
       .allowed = {"auto", "on", "off"},
       .scope = OptionScope::run},
      {.name = "on-bad",
       .default_value = Text{"stop"},
       .help =
           "samples that turn out to be damaged while they are read: stop = the run ends; skip = they have weight 0, "
           "up to 0.1 % of an epoch's samples",
       .allowed = {"stop", "skip"},
       .scope = OptionScope::run,
       .other_names = {"skip-bad", "ignore-bad-files", "skip-corrupted"}},
      {.name = "ema",
       .default_value = 0.0,
       .help =
           "decay of averaged weights (0.999), which are validated, saved beside the trained ones and evaluated; "
           "0 = none",
       .other_names = {"ema-decay", "model-ema"}},
      {.name = "accumulate",
       .default_value = Integer{1},
       .help = "passes per optimizer step (less memory, same batch)",
       .other_names = {"grad-accum", "accumulation-steps", "accumulate-grad-batches",
                       "gradient-accumulation-steps"}},
      {.name = "sync-batch-norm",
       .default_value = false,
       .help = "batch-norm statistics over all ranks: any number of ranks computes the same",
       .other_names = {"sync-bn", "syncbn", "sync-batchnorm"}},
      {.name = "precision",
       .default_value = Text{"auto"},
       .help =
           "numbers of the step; auto = tf32 on GPUs that have it (compute capability 8.0), else float32; "
           "float16 scales the loss, for GPUs without bfloat16",
       .allowed = {"auto", "float32", "float64", "tf32", "bfloat16", "float16"},
       .other_names = {"dtype", "amp", "use-amp", "fp16", "bf16"}},
      {.name = "kernels",
       .default_value = Text{"auto"},
       .help =
           "libtorch = LibTorch's operations compute what kernels of ours do else (EdgeConv, norms, convolutions), on CPUs and "
           "GPUs, more slowly: to compare where a loss looks wrong",
       .allowed = {"auto", "libtorch"}},
      {.name = "seed",
       .default_value = Integer{1},
       .help = "of initial weights, sample order, dropout and splits",
       .other_names = {"random-seed", "rng-seed"}},
  };
}

std::vector<OptionSpec> run_options() {
  return {
      {.name = "run",
       .default_value = Text{},
       .help = "run folder; empty = runs/PROGRAM-DATE-TIME and what makes it unique",
       .value_name = "FOLDER",
       .other_names = {"run-dir", "output", "out", "output-dir", "outdir", "out-dir", "log-dir", "save-dir"}},
      {.name = "resume",
       .default_value = false,
       .help = "go on with the run in the folder; starts afresh if there is none",
       .other_names = {"continue", "restart", "load-epoch"}},
      {.name = "allow-changed",
       .default_value = false,
       .help = "--resume with other settings or data than before: they are listed and used, not refused"},
      {.name = "reschedule",
       .default_value = false,
       .help = "--resume with another --epochs or bound plans the learning rate anew over the new length"},
      {.name = "checkpoint-every",
       .default_value = Text{},
       .help =
           "extra snapshots: steps (500), minutes (10min), or auto: as often as 3 % of the time allows, at least "
           "every 30 minutes; one per epoch is always written",
       .value_name = "N|Nmin|auto",
       .other_names = {"save-every", "checkpoint-interval", "save-interval"}},
      {.name = "checkpoint-local",
       .default_value = Text{},
       .help =
           "write snapshots to this folder of each node's own disk, and bring them to the run folder beside the steps",
       .value_name = "FOLDER",
       .scope = OptionScope::rank},
      {.name = "keep-last", .default_value = Integer{3}, .help = "the newest snapshots stay"},
      {.name = "keep-best",
       .default_value = Integer{1},
       .help = "so do those with the best scores",
       .other_names = {"save-top-k"}},
      {.name = "keep-every",
       .default_value = 0.0,
       .help = "and the oldest one of every so many hours (24: one a day, by UTC); 0 = none",
       .value_name = "HOURS"},
      {.name = "check-replicas",
       .default_value = Integer{0},
       .help =
           "compare the parameters of all ranks bit by bit also every N steps; 0 = at snapshots, -1 = never"},
      {.name = "mesh",
       .default_value = Text{},
       .help =
           "ranks along each axis: data=4 are four replicas, spatial=2x2 slabs of x and y; empty = all along data",
       .value_name = "AXIS=N,..."},
      {.name = "mesh-order",
       .default_value = Text{"tensor,spatial,pipeline,data"},
       .help = "axes of the mesh, the one whose ranks are consecutive first",
       .value_name = "AXIS,..."},
      {.name = "backend",
       .default_value = Text{"auto"},
       .help = "collectives",
       .allowed = {"auto", "mpi", "nccl"}},
      {.name = "collectives",
       .default_value = Text{"auto"},
       .help = "when gradients are summed",
       .allowed = {"auto", "after-backward", "buckets"}},
      {.name = "checked",
       .default_value = false,
       .help = "compare every collective between ranks first (slow; finds mismatches)"},
      {.name = "timeout",
       .default_value = 600.0,
       .help = "seconds that ranks wait for one another; at start, in steps and snapshots, at the end"},
      {.name = "device",
       .default_value = Text{"auto"},
       .help = "where to compute",
       .allowed = {"auto", "cpu", "cuda"},
       .other_names = {"gpu", "gpus", "accelerator"}},
  };
}

std::vector<OptionSpec> rank_options() {
  return {
      {.name = "threads",
       .default_value = Integer{0},
       .help = "compute threads per rank; 0 = from affinity and ranks",
       .other_names = {"num-threads", "cpus"}},
      {.name = "loader-threads",
       .default_value = Integer{0},
       .help = "decode threads per rank; 0 = automatic",
       .other_names = {"workers", "num-workers", "n-workers"}},
      {.name = "log-level",
       .default_value = Text{"info"},
       .help = "what is logged to standard error",
       .allowed = {"debug", "info", "warning", "error"},
       .other_names = {"verbose", "verbosity", "loglevel"}},
  };
}

std::vector<OptionSpec> in_scope(std::vector<OptionSpec> options, OptionScope scope) {
  for (auto& option : options) option.scope = scope;
  return options;
}

}  // namespace

std::vector<OptionSpec> standard_options() {
  std::vector<OptionSpec> all = data_options();
  for (auto& part : {training_options(), in_scope(run_options(), OptionScope::run),
                     in_scope(rank_options(), OptionScope::rank)})
    all.insert(all.end(), part.begin(), part.end());
  for (OptionSpec& option : all) option.standard = true;
  return all;
}

}  // namespace bunchtrain::app
