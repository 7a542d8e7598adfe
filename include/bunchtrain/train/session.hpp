// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a training program works with: ranks, device, precision, threads, options, run folder.

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/comm/mesh.hpp"
#include "bunchtrain/config/options.hpp"
#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/device/thread_budget.hpp"
#include "bunchtrain/mpi/comm.hpp"
#include "bunchtrain/train/run_folder.hpp"
#include "bunchtrain/train/session_options.hpp"

namespace at {
class Tensor;
}

namespace bunchtrain::train {

class Observer;
class StepLog;
class TrainingLoop;

/// Thrown by `Session::set_up_complete` on all ranks if `--print-config` was given. Not an error: `bt::run`
/// prints the text and ends with 0.
struct EffectiveConfiguration {
  std::string toml;
};

/// Built by `bt::run` for a command line (`app::open_session`), or by a host application with its own communicator.
/// Opens the communicators, chooses the device and makes it the current one of this thread; touches neither signals nor
/// thread counts. Use from one thread.
class Session {
 public:
  /// Collective. @throws ConfigError on every rank if the ranks were given different options: it names the first,
  /// both values and where they came from. Those of scope `rank` may differ.
  Session(SessionOptions asked, const mpi::Comm& control, Logger logger);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Tensor collectives of all ranks, on `device()`.
  comm::Communicator world() const;
  /// The ranks along the axes of `--mesh`, over `world()`.
  comm::Mesh mesh() const;
  /// Small CPU collectives that run beside those of `world()`.
  comm::Communicator agreement() const;
  /// The same between the ranks along one axis of the mesh: losses and metrics are sums over replicas (the data axis),
  /// whatever the ranks of one replica share. Collective over all ranks at the first call for an axis.
  comm::Communicator agreement(comm::Axis axis) const;
  const mpi::Comm& control() const noexcept;
  int rank() const noexcept;
  int size() const noexcept;
  bool is_root() const noexcept { return rank() == 0; }

  /// What the session was asked for. Who takes a value out tells `use`.
  const SessionOptions& asked() const noexcept;
  /// Says that what was asked for by this name has an effect: of the rest the user is warned. A name that the record
  /// does not have is nobody's.
  void use(std::string_view name) const;
  /// Of the record, for a program's own code: `std::vector<std::string> files = session.option("data");`
  /// @throws ConfigError for an undeclared option.
  config::OptionView option(std::string name) const;
  /// `SessionOptions::record`.
  const config::Options& options() const noexcept;
  c10::Device device() const noexcept;
  device::Precision precision() const noexcept;
  std::uint64_t seed() const noexcept;
  const device::ThreadBudget& threads() const noexcept;
  const Logger& logger() const noexcept;

  /// Shows the runs of this session, from the next one on; kept as long as the session.
  void add_observer(std::shared_ptr<Observer> observer);
  const std::vector<std::shared_ptr<Observer>>& observers() const noexcept;

  /// A number of the step that is being made, from an objective or a `ManualStep`; from a callback, of the next
  /// one. Each step's records, TensorBoard events and page show the mean over all calls of all ranks, those of
  /// one rank alone too; NaN as null. Not collective: it travels with the losses, and ranks may log different
  /// names (a name that is new to a run costs one exchange). What is logged during a validation is dropped.
  /// @throws ConfigError for a name that is no word of letters, digits and "_", or one of our own records.
  void log(const std::string& name, double value);
  /// One number on any device: the host does not wait for it.
  void log(const std::string& name, const at::Tensor& scalar);

  /// Collective at the first call, which makes or opens the folder.
  const RunFolder& run_folder();
  /// Whether the user asked to go on with the run in the folder (`--resume`).
  bool resume() const;

  /// Call it when nothing is left to set up: a hand-written loop before its first step; `Trainer::fit` does
  /// it. Warns of standard options (`OptionSpec::standard`) that were given and that nothing asked for. With `--print-config` throws
  /// EffectiveConfiguration of `effective`, the options with what the program's own code decided.
  void set_up_complete(const config::Options& effective);
  void set_up_complete() { set_up_complete(options()); }
  /// Warns of all options that were given and that nothing asked for, each one once. Called
  /// by `bt::run` at the end.
  void warn_of_unused_options();

  /// Asks for a checkpoint and a stop after the current step, from any thread (a host
  /// application's own signal handling).
  void request_stop() noexcept;
  /// Whether a stop was asked for here: by the program, by a signal, or because the run folder was lost. For
  /// loops and long passes to look at; the ranks must agree before one of them leaves.
  bool stop_requested() const noexcept;
  /// Collective: the signal by which a stop was asked for on any rank (0 if it was the program), if one was.
  std::optional<int> agreed_stop() const;
  /// Collective: leaves by `Interrupted` on all ranks if a stop was asked for on any.
  void leave_if_stopped() const;

  /// Collective: frees the communicators and the run folder. Called by `bt::run` at the orderly end.
  void close();

 private:
  friend class TrainingLoop;
  StepLog& step_log() noexcept;

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::train
