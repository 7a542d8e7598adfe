// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/comm/communicator.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "cards.hpp"
#include "communicator_impl.hpp"

namespace bunchtrain::comm {

using detail::Operation;

namespace {

constexpr std::array kBackends = {Backend::automatic, Backend::self, Backend::mpi, Backend::nccl};

/// Refuses what this rank can see to be wrong alone.
void require_fit(Backend asked, const mpi::Comm& comm, c10::Device device) {
  if (asked == Backend::self && comm.size() > 1)
    throw ConfigError("backend", "self", fmt::format("mpi or nccl for {} ranks", comm.size()));
  if (asked == Backend::mpi && !comm.has_mpi())
    throw ConfigError("backend", "mpi", "self for a process started without mpirun");
  if (asked != Backend::nccl) return;
  if (!detail::nccl_is_built()) throw NotBuiltError("the nccl backend", "BUNCHTRAIN_CUDA");
  if (!device.is_cuda() && comm.size() == 1)
    throw ConfigError("backend", "nccl", "mpi or self for tensors on " + device.str());
}

/// Collective.
Backend choose_backend(const mpi::Comm& comm, c10::Device device, const CommunicatorOptions& options) {
  require_fit(options.backend, comm, device);
  if (options.backend == Backend::self || options.backend == Backend::mpi) return options.backend;
  if (comm.size() == 1) return options.backend == Backend::automatic ? Backend::self : Backend::nccl;
  if (!detail::nccl_is_built()) return Backend::mpi;
  const auto choice = detail::judge_backend(options.backend, detail::gather_cards(comm, device));
  if (!choice.notice.empty() && comm.rank() == 0) options.logger.warning(choice.notice);
  return choice.backend;
}

}  // namespace

void CommunicatorOptions::validate() const {
  if (timeout.count() <= 0)
    throw ConfigError("timeout", fmt::format("{} ms", timeout.count()), "a positive time");
  if (abort_timeout.count() <= 0)
    throw ConfigError("abort_timeout", fmt::format("{} ms", abort_timeout.count()), "a positive time");
  if (max_message_elements < 1 || max_message_elements > (std::int64_t{1} << 30)) {
    throw ConfigError("max_message_elements", std::to_string(max_message_elements), "1 to 2^30");
  }
}

Communicator create_owning(mpi::Comm owned_comm, c10::Device device, Backend kind,
                           CommunicatorOptions options, const detail::ControlChannel* whole) {
  return Communicator(
      std::make_shared<Communicator::Impl>(std::move(owned_comm), device, kind, std::move(options), whole));
}

Communicator Communicator::self() {
  return create_owning(mpi::Comm::self(), c10::Device(c10::kCPU), Backend::self,
                       {.backend = Backend::self, .name = "self"});
}

Communicator Communicator::create(const mpi::Comm& comm, c10::Device device, CommunicatorOptions options) {
  options.validate();
  const Backend kind = choose_backend(comm, device, options);
  return create_owning(comm.duplicate(), device, kind, std::move(options));
}

int Communicator::rank() const noexcept { return impl_->control.rank(); }
int Communicator::size() const noexcept { return impl_->control.size(); }
c10::Device Communicator::device() const noexcept { return impl_->device; }
Backend Communicator::backend() const noexcept { return impl_->backend_kind; }
const std::string& Communicator::name() const noexcept { return impl_->options.name; }
const mpi::Comm& Communicator::control() const noexcept { return impl_->control; }

Work Communicator::all_reduce(at::Tensor tensor, ReduceOp op) {
  return impl_->start({.operation = Operation::all_reduce, .op = op}, {.output = tensor, .input = tensor});
}

Work Communicator::reduce_scatter(at::Tensor output, at::Tensor input, ReduceOp op) {
  return impl_->start({.operation = Operation::reduce_scatter, .op = op},
                      {.output = std::move(output), .input = std::move(input)});
}

Work Communicator::all_gather(at::Tensor output, at::Tensor input) {
  return impl_->start({.operation = Operation::all_gather},
                      {.output = std::move(output), .input = std::move(input)});
}

Work Communicator::broadcast(at::Tensor tensor, int root) {
  return impl_->start({.operation = Operation::broadcast, .root = root}, {.output = tensor, .input = tensor});
}

Work Communicator::all_to_all(at::Tensor output, at::Tensor input) {
  return impl_->start({.operation = Operation::all_to_all},
                      {.output = std::move(output), .input = std::move(input)});
}

Work Communicator::send(at::Tensor tensor, int peer, int tag) {
  return impl_->start({.operation = Operation::send, .root = peer, .tag = tag},
                      {.output = {}, .input = std::move(tensor)});
}

Work Communicator::receive(at::Tensor tensor, int peer, int tag) {
  return impl_->start({.operation = Operation::receive, .root = peer, .tag = tag},
                      {.output = std::move(tensor), .input = {}});
}

std::string Communicator::why_not_captured() const { return impl_->why_not_captured(); }
int Communicator::rehearse(const std::function<void()>& work) { return impl_->rehearse(work); }
void Communicator::capture(const std::function<void()>& work, int collectives) {
  impl_->capture(work, collectives);
}
Work Communicator::repeat(const std::function<void()>& launch, int graph) {
  return impl_->repeat(launch, graph);
}

void Communicator::barrier() { impl_->barrier(); }

Communicator Communicator::split(int color, int key, std::string name) {
  return impl_->split(color, key, std::move(name));
}

void Communicator::tell_reading() { impl_->tell_reading(); }

void Communicator::on_failure(std::function<void(const std::string&)> listener) {
  impl_->on_failure = std::move(listener);
}

std::string Communicator::last_operations() const { return impl_->last_operations(); }

void Communicator::poison(std::string reason) noexcept {
  impl_->options.logger.error(reason);  // nobody throws it here
  impl_->poison(std::move(reason), Communicator::Impl::Tell::peers);
}

void Communicator::close() { impl_->close(); }

std::string_view to_string(Backend backend) noexcept {
  switch (backend) {
    case Backend::automatic:
      return "auto";
    case Backend::self:
      return "self";
    case Backend::mpi:
      return "mpi";
    case Backend::nccl:
      return "nccl";
  }
  return "?";
}

Backend parse_backend(std::string_view text) {
  for (const Backend backend : kBackends) {
    if (text == to_string(backend)) return backend;
  }
  throw ConfigError("backend", text, "auto, self, mpi or nccl");
}

}  // namespace bunchtrain::comm
