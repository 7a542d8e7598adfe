// SPDX-License-Identifier: Apache-2.0
#include "watchdog.hpp"

#include <utility>

namespace bunchtrain::comm::detail {
namespace {
constexpr std::chrono::milliseconds kPeriod{100};
}  // namespace

Watchdog::Watchdog(NcclCommunicator& communicator, int device, std::chrono::milliseconds timeout)
    : communicator_(communicator),
      timeout_(timeout),
      thread_([this, device](const std::stop_token& stop) { run(stop, device); }) {}

void Watchdog::watch(std::shared_ptr<NcclOperation> operation) {
  if (operation->captured) return;
  const std::scoped_lock lock(mutex_);
  operations_.push_back(std::move(operation));
}

void Watchdog::run(const std::stop_token& stop, int device) {
  cudaSetDevice(device);
  // Else a query from here would spoil a capture of the training thread.
  auto mode = cudaStreamCaptureModeThreadLocal;
  cudaThreadExchangeStreamCaptureMode(&mode);
  while (!stop.stop_requested()) {
    std::this_thread::sleep_for(kPeriod);
    try {
      look();
    } catch (const CommError& error) {
      communicator_.abort(error.message());
      return;
    }
  }
}

std::shared_ptr<NcclOperation> Watchdog::oldest() {
  const std::scoped_lock lock(mutex_);
  while (!operations_.empty() && has_passed(operations_.front()->done, operations_.front()->call)) {
    operations_.pop_front();
    deadline_.reset();
  }
  return operations_.empty() ? nullptr : operations_.front();
}

void Watchdog::look() {
  const auto operation = oldest();
  if (!operation) return;
  if (const std::string error = communicator_.asynchronous_error(); !error.empty())
    throw CommError(describe(operation->call) + ": " + error);
  if (!deadline_) {
    if (!has_passed(operation->ready, operation->call)) return;
    operation->begun = true;
    deadline_ = Clock::now() + timeout_;
  }
  if (Clock::now() < *deadline_) return;
  timed_out_ = true;
  throw CommError(describe(operation->call) + " did not complete in time and was aborted");
}

}  // namespace bunchtrain::comm::detail
