// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a transport of tensors (self, mpi, nccl) offers to the communicator.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/error.hpp"
#include "call.hpp"

namespace bunchtrain::comm::detail {

/// A backend noticed by itself that an operation hangs.
class OperationTimeout : public CommError {
 public:
  using CommError::CommError;
};

/// An operation that was started. Shares ownership of its tensors. Must not be destroyed before `poll()`
/// returned true: the library underneath still writes to its buffers.
class InFlight {
 public:
  virtual ~InFlight() = default;
  /// Makes progress without blocking; true once complete. @throws CommError
  virtual bool poll() = 0;
  /// False while the operation waits for work that its device does before it: such time does not count
  /// against the timeout.
  virtual bool has_begun() { return true; }
  /// Orders the current GPU stream after the operation. False if only `poll()` can tell (CPU).
  virtual bool order_current_stream() { return false; }
};

/// The tensors of an operation; both are the same for in-place ones, one is undefined where there is none.
struct Buffers {
  at::Tensor output;
  at::Tensor input;
};

/// The elements of a dense tensor in memory order, outside of autograd.
inline at::Tensor flat(const at::Tensor& tensor) { return tensor.detach().as_strided({tensor.numel()}, {1}); }

/// One transport. Tensors were checked by the communicator: dense, right sizes, a supported dtype; a
/// reduction of bool arrives as `min` (and) or `max` (or). Used by one thread.
class CollectiveBackend {
 public:
  virtual ~CollectiveBackend() = default;
  /// Null if the operation is complete already. @throws CommError
  virtual std::unique_ptr<InFlight> start(const Call& call, const Buffers& buffers) = 0;
  /// `serve` is to be called now and then while a call of this waits in the host: it hears of peers that failed.
  /// @throws CommError then, after `abort`
  virtual void while_waiting(std::function<void()> /*serve*/) {}
  /// Before operations are captured: graphs refer to the backend from here on.
  virtual void begin_capture() {}
  /// Operations that were captured, enqueued once more by `launch`; null if they are complete. @throws CommError, and what
  /// `launch` throws
  virtual std::unique_ptr<InFlight> repeat(const Call& /*call*/, const std::function<void()>& launch) {
    launch();
    return nullptr;
  }
  /// Gives up on everything in flight. Not collective.
  virtual void abort() noexcept {}
  /// Collective: frees the handles; nothing is in flight.
  virtual void close() {}
};

std::unique_ptr<CollectiveBackend> create_self_backend();
/// Collective.
std::unique_ptr<CollectiveBackend> create_mpi_backend(const mpi::Comm& comm,
                                                      const CommunicatorOptions& options);
/// Collective. @throws NotBuiltError in builds without NCCL
std::unique_ptr<CollectiveBackend> create_nccl_backend(const mpi::Comm& comm, c10::Device device,
                                                       const CommunicatorOptions& options);
bool nccl_is_built() noexcept;
/// Of a GPU, as NCCL compares it. @throws NotBuiltError in builds without NCCL, CommError if CUDA refuses
std::string pci_bus_id(c10::Device device);

}  // namespace bunchtrain::comm::detail
