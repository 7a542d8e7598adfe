// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a `Session` is asked for, by a host application or by the command line of `bt::run`.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/comm/mesh_shape.hpp"
#include "bunchtrain/config/options.hpp"
#include "bunchtrain/device/device.hpp"
#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/ops/kernels.hpp"
#include "bunchtrain/train/training_choices.hpp"

namespace bunchtrain::train {

/// Write the fields that you mean: `Session session({.run = "runs/first", .training = {.epochs = 3}}, comm, log);`.
/// All ranks give the same but `threads` and `loader_threads`.
struct SessionOptions {
  std::string program = "bunchtrain";  ///< its name, in run.json and in the default name of a run folder
  device::DeviceRequest device = device::DeviceRequest::automatic;
  /// Numbers of a step; unset: tf32 on GPUs that have it, else float32, and what it was in a run that is resumed.
  std::optional<device::Precision> precision = {};
  /// Of the whole process as long as the session lives: `libtorch` computes by LibTorch's operations what kernels of ours
  /// do else, for comparisons where results look wrong.
  ops::Kernels kernels = ops::Kernels::automatic;
  std::uint64_t seed = 1;  ///< of initial weights, sample order, dropout and splits
  int threads = 0;         ///< compute threads of this rank; 0 = from affinity and ranks
  int loader_threads = 0;  ///< decode threads of this rank; 0 = automatic

  comm::Backend backend = comm::Backend::automatic;  ///< collectives
  bool checked = false;                              ///< compare every collective between ranks first
  std::chrono::milliseconds timeout = std::chrono::minutes(10);  ///< that ranks wait for one another
  /// Ranks along each axis, as `comm::MeshShape::parse` reads it; empty = all along data.
  std::string mesh = {};
  std::vector<comm::Axis> axes = {comm::Axis::data};        ///< along which the program can train
  std::string mesh_order = "tensor,spatial,pipeline,data";  ///< the axis whose ranks are consecutive first

  std::filesystem::path run = {};  ///< run folder; empty = a new one under runs/
  bool resume = false;             ///< go on with the run in the folder; starts afresh if there is none
  bool allow_changed = false;      ///< resume with other settings or data than before: listed and used
  bool reschedule = false;         ///< resume with another length plans the learning rate anew over it

  TrainingChoices training = {};

  /// How all this was asked for: texts, where they came from, what of it was used. It is compared between ranks,
  /// kept in run.json and named in messages; values are not taken from it. `app::session_options` gives the options
  /// of a command line; unset: made from the fields above.
  std::optional<config::Options> record = {};

  /// @throws ConfigError naming the field.
  void validate() const;
};

}  // namespace bunchtrain::train
