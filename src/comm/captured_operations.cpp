// SPDX-License-Identifier: Apache-2.0
/// Collectives within work that a device takes down and repeats.
#include <fmt/format.h>

#include <exception>
#include <string>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "communicator_impl.hpp"

namespace bunchtrain::comm {

using detail::Call;
using detail::InFlight;
using detail::Operation;

namespace {

/// Puts a value back at the end of a scope.
template <class Value>
class ValueKeeper {
 public:
  explicit ValueKeeper(Value& place) : place_(place), value_(place) {}
  ~ValueKeeper() { place_ = value_; }
  ValueKeeper(const ValueKeeper&) = delete;
  ValueKeeper& operator=(const ValueKeeper&) = delete;

 private:
  Value& place_;
  Value value_;
};

}  // namespace

std::string Communicator::Impl::why_not_captured() const {
  if (options.checked) return "the ranks compare each collective before it starts (checked mode)";
  if (backend_kind == Backend::mpi && device.is_cuda())
    return "tensors of the ranks' GPUs travel through the host (backend mpi)";
  return {};
}

int Communicator::Impl::rehearse(const std::function<void()>& work) {
  require_usable({.operation = Operation::captured_step});
  const ValueKeeper<bool> rehearses(rehearses_);
  const int before = issued_;
  rehearses_ = true;
  work();
  return issued_ - before;
}

/// Numbers are of what has run: a rank whose capture fails halfway stays in step with the others.
void Communicator::Impl::capture(const std::function<void()>& work, int collectives) {
  require_usable({.operation = Operation::captured_step});
  const ValueKeeper<std::uint64_t> sequence(sequence_);
  backend_->begin_capture();
  const int before = issued_;
  try {
    work();
  } catch (const CommError&) {
    throw;
  } catch (const std::exception& error) {
    const int issued = issued_ - before;
    if (issued >= collectives) throw;
    const std::string text = error.what();  // LibTorch's goes on with where it was thrown
    fail(
        fmt::format(
            "communicator '{}': rank {} failed while it captured a step, with {} of {} collectives, which the "
            "other ranks wait for: {}; start again with {}",
            options.name, control.rank(), issued, collectives, text.substr(0, text.find('\n')),
            setting("cuda_graph", "off")),
        Tell::peers);
  }
}

Work Communicator::Impl::repeat(const std::function<void()>& launch, int graph) {
  Call call{.operation = Operation::captured_step, .tag = graph};
  require_usable(call);
  call.sequence = ++sequence_;
  forget_complete();
  const std::uint64_t ticket = record.start(call, control.phase());
  if (options.checked) compare_with_peers(call);
  std::unique_ptr<InFlight> operation;
  try {
    operation = backend_->repeat(call, launch);
  } catch (const CommError& error) {
    fail(error, call);
  }
  return Work(std::make_shared<Work::Impl>(shared_from_this(), std::move(operation), call, ticket));
}

}  // namespace bunchtrain::comm
