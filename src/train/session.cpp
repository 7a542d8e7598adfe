// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/session.hpp"

#include <ATen/ops/scalar_tensor.h>
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <thread>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/data/remote_files.hpp"
#include "bunchtrain/device/device.hpp"
#include "bunchtrain/train/detail/same_options.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "rank_agreement.hpp"
#include "recorded_precision.hpp"
#include "session_record.hpp"
#include "step_log.hpp"

namespace bunchtrain::train {
namespace {

/// Beside the run, for those who ask later why a job ended. The disk may be what failed: at most a second.
void write_flight_record(const std::filesystem::path& folder, int rank, const std::string& text) {
  const auto done = std::make_shared<std::promise<void>>();
  std::thread([=] {
    std::ofstream(folder / fmt::format("flight-rank-{}.txt", rank), std::ios::app) << text << '\n';
    done->set_value();
  }).detach();
  done->get_future().wait_for(std::chrono::seconds(1));
}

}  // namespace

struct Session::Impl {
  ops::KernelsGuard kernels;
  SessionOptions asked;  ///< with a record
  mpi::Comm control;
  Logger logger;
  c10::Device device;
  device::Precision precision;
  device::ThreadBudget threads;
  comm::Communicator world;
  comm::Mesh agreement;
  comm::Mesh mesh;
  std::optional<RunFolder> folder = {};
  std::set<std::string> reported_unused = {};
  std::vector<std::shared_ptr<Observer>> observers = {};
  StepLog step_log = {};
  std::atomic<bool> stop = false;

  ~Impl() { on_failure({}); }

  const config::Options& record() const noexcept { return *asked.record; }

  /// Of any of its communicators: they may outlive the session.
  void on_failure(const std::function<void(const std::string&)>& listener) {
    control.on_failure(listener);
    world.on_failure(listener);
    comm::Communicator(agreement.world()).on_failure(listener);
  }
  void record_failures_in(const std::filesystem::path& path) {
    on_failure([this, path](const std::string& reason) {
      write_flight_record(path, control.rank(),
                          fmt::format("{}\n{}{}Last operations of rank {} on the control plane:\n{}", reason,
                                      world.last_operations(), agreement.world().last_operations(),
                                      control.rank(), control.last_operations()));
    });
  }

  void warn_of_unused(const std::string& name) {
    if (control.rank() != 0 || !reported_unused.insert(name).second) return;
    logger.warning(fmt::format("{} = {} ({}) was given, but nothing in this run uses it", name,
                               record().text(name), record().origin(name)));
  }
};

namespace {

device::ThreadBudget threads_of(const SessionOptions& asked, const mpi::Comm& control) {
  auto budget = device::make_thread_budget(device::observe_threads(control.local_size(), asked.threads));
  if (asked.loader_threads > 0) budget.loader = asked.loader_threads;
  return budget;
}

comm::CommunicatorOptions communicator_options(const SessionOptions& asked, const Logger& logger) {
  return {.backend = asked.backend, .timeout = asked.timeout, .checked = asked.checked, .logger = logger};
}

/// "auto" may find a GPU on one node and none on another.
void require_same_device(const mpi::Comm& control, c10::Device device) {
  const Fact kind{.name = "device", .value = c10::DeviceTypeName(device.type(), true)};
  require_agreement(control, {&kind, 1},
                    "start ranks on like nodes only, or give " + setting("device", "cpu"));
}

/// What "auto" means, for a run that is resumed what it meant before. Collective: the cards
/// of the ranks may differ.
device::Precision automatic_precision(const SessionOptions& asked, const mpi::Comm& control,
                                      c10::Device device) {
  bool float32 = device::automatic_precision(device) == device::Precision::float32;
  if (control.rank() == 0 && asked.resume) {
    asked.record->use("run");
    float32 = float32 || recorded_precision(asked.run) == device::to_string(device::Precision::float32);
  }
  return control.all_max(float32 ? 1 : 0) == 1 ? device::Precision::float32 : device::Precision::tf32;
}

/// Leaves what "auto" means in the record.
device::Precision choose_precision(SessionOptions& asked, const mpi::Comm& control, c10::Device device,
                                   const Logger& logger) {
  const auto precision = asked.precision ? *asked.precision : automatic_precision(asked, control, device);
  device::require_supported(precision, device);
  if (asked.precision) return precision;
  asked.record->resolve("precision", std::string(device::to_string(precision)), "auto");
  if (device.is_cuda())
    logger.info(fmt::format(
        "precision {} (auto){}", device::to_string(precision),
        precision == device::Precision::tf32
            ? fmt::format(": matrix products and convolutions of float32 in TF32; {} for all bits",
                          setting("precision", "float32"))
            : std::string()));
  return precision;
}

std::string names_of(const std::vector<comm::Axis>& axes) {
  std::vector<std::string_view> names;
  for (const comm::Axis axis : axes) names.push_back(comm::to_string(axis));
  return fmt::format("{}", fmt::join(names, ", "));
}

/// Before the data are read; whether an engine goes along an axis, the Trainer finds.
comm::MeshShape mesh_shape(const SessionOptions& asked, int world) {
  const auto shape = comm::MeshShape::parse(asked.mesh, world, asked.mesh_order);
  for (const comm::Axis axis : comm::kAxes) {
    if (std::ranges::find(asked.axes, axis) == asked.axes.end() && shape.size(axis) > 1)
      throw ConfigError("mesh", asked.mesh,
                        fmt::format("sizes of {} only: nothing here trains along the {} axis",
                                    names_of(asked.axes), comm::to_string(axis)));
  }
  return shape;
}

/// Collectives of a few host numbers, whatever the device of the tensors is.
comm::Communicator create_agreement(const mpi::Comm& control, comm::CommunicatorOptions options) {
  options.backend = comm::Backend::automatic;
  options.name = "agreement";
  return comm::Communicator::create(control, c10::kCPU, options);
}

}  // namespace

void SessionOptions::validate() const {
  if (timeout.count() < 1)
    throw ConfigError("timeout", fmt::format("{} ms", timeout.count()), "a positive time");
}

Session::Session(SessionOptions asked, const mpi::Comm& control, Logger logger) {
  asked.validate();
  if (!asked.record) asked.record = make_record(asked);
  mpi::Comm(control).set_timeout(asked.timeout);
  require_same_options(control, *asked.record);
  const auto device = device::choose_device(asked.device, control.local_rank(), logger);
  require_same_device(control, device);
  device::make_current(device);
  const auto precision = choose_precision(asked, control, device, logger);
  const auto collective = communicator_options(asked, logger);
  auto world = comm::Communicator::create(control, device, collective);
  comm::Mesh mesh(world, mesh_shape(asked, control.size()));
  comm::Mesh agreement(create_agreement(control, collective), mesh.shape());
  auto threads = threads_of(asked, control);
  data::keep_remote_files_in(asked.training.stage, logger);
  for (const char* name : {"timeout", "device", "precision", "kernels", "backend", "checked", "mesh",
                           "mesh-order", "threads", "loader-threads"})
    asked.record->use(name);
  if (asked.kernels == ops::Kernels::libtorch && control.rank() == 0)
    logger.info("kernels libtorch: LibTorch's operations compute what kernels of ours would, more slowly");
  impl_.reset(new Impl{.kernels = ops::KernelsGuard(asked.kernels),
                       .asked = std::move(asked),
                       .control = control,
                       .logger = std::move(logger),
                       .device = device,
                       .precision = precision,
                       .threads = std::move(threads),
                       .world = std::move(world),
                       .agreement = std::move(agreement),
                       .mesh = std::move(mesh)});
}

Session::~Session() = default;

comm::Communicator Session::world() const { return impl_->world; }
comm::Mesh Session::mesh() const { return impl_->mesh; }
comm::Communicator Session::agreement() const { return impl_->agreement.world(); }
comm::Communicator Session::agreement(comm::Axis axis) const { return impl_->agreement.axis(axis); }
const mpi::Comm& Session::control() const noexcept { return impl_->control; }
int Session::rank() const noexcept { return impl_->control.rank(); }
int Session::size() const noexcept { return impl_->control.size(); }
config::OptionView Session::option(std::string name) const { return {options(), std::move(name)}; }
const config::Options& Session::options() const noexcept { return impl_->record(); }
void Session::use(std::string_view name) const {
  if (options().has(name)) options().use(name);
}
const SessionOptions& Session::asked() const noexcept { return impl_->asked; }
c10::Device Session::device() const noexcept { return impl_->device; }
device::Precision Session::precision() const noexcept { return impl_->precision; }
std::uint64_t Session::seed() const noexcept {
  use("seed");
  return impl_->asked.seed;
}
const device::ThreadBudget& Session::threads() const noexcept { return impl_->threads; }
const Logger& Session::logger() const noexcept { return impl_->logger; }
bool Session::resume() const {
  use("resume");
  return impl_->asked.resume;
}

void Session::add_observer(std::shared_ptr<Observer> observer) {
  expects(observer != nullptr, "an observer of a session is not null");
  impl_->observers.push_back(std::move(observer));
}
const std::vector<std::shared_ptr<Observer>>& Session::observers() const noexcept { return impl_->observers; }

void Session::log(const std::string& name, double value) {
  impl_->step_log.add(name, at::scalar_tensor(value, at::kDouble));
}
void Session::log(const std::string& name, const at::Tensor& scalar) { impl_->step_log.add(name, scalar); }
StepLog& Session::step_log() noexcept { return impl_->step_log; }

const RunFolder& Session::run_folder() {
  if (impl_->folder) return *impl_->folder;
  use("run");
  impl_->folder = RunFolder::open(impl_->control,
                                  {.path = impl_->asked.run.string(),
                                   .program = options().program(),
                                   .resume = resume(),
                                   .say = [this](const std::string& text) { impl_->logger.warning(text); }});
  impl_->record_failures_in(impl_->folder->path());
  return *impl_->folder;
}

void Session::set_up_complete(const config::Options& effective) {
  if (options().print_config()) throw EffectiveConfiguration{effective.to_toml()};
  // A program may ask for options of its own until its end.
  for (const auto& name : options().unused())
    if (options().spec(name).standard && options().spec(name).scope != config::OptionScope::run)
      impl_->warn_of_unused(name);
}

void Session::warn_of_unused_options() {
  for (const auto& name : options().unused()) impl_->warn_of_unused(name);
}

void Session::request_stop() noexcept { impl_->stop = true; }
bool Session::stop_requested() const noexcept {
  return impl_->stop || StopSignal::received() != 0 || (impl_->folder && impl_->folder->is_lost());
}

std::optional<int> Session::agreed_stop() const {
  // Ctrl-C has an exit code of its own: it wins where ranks got different signals.
  constexpr int kInterrupt = 1 << 16;
  std::int64_t mine = 0;
  if (stop_requested()) mine = StopSignal::received() == SIGINT ? kInterrupt : StopSignal::received() + 1;
  const std::int64_t agreed = impl_->control.all_max(mine);
  if (agreed == 0) return std::nullopt;
  return agreed == kInterrupt ? SIGINT : static_cast<int>(agreed) - 1;
}

void Session::leave_if_stopped() const {
  const auto signal = agreed_stop();
  if (!signal) return;
  if (impl_->folder) impl_->folder->require_owned(impl_->control);  // a lost folder is a failure, no stop
  throw Interrupted{*signal};
}

void Session::close() {
  impl_->folder.reset();  // with its lock: another session may go on with the run
  impl_->mesh.close();
  impl_->agreement.close();
  agreement().close();
  impl_->world.close();
}

}  // namespace bunchtrain::train
