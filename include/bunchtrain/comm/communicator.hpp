// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Collective operations on tensors over the backends self, mpi and nccl.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/comm/work.hpp"
#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/mpi/comm.hpp"

namespace bunchtrain::comm {

enum class ReduceOp { sum, min, max };

/// `automatic`: self for one rank, nccl for GPU tensors if built, else mpi (GPU tensors staged through the host).
enum class Backend { automatic, self, mpi, nccl };

struct CommunicatorOptions {
  Backend backend = Backend::automatic;
  std::chrono::milliseconds timeout = std::chrono::minutes(10);
  /// Checked mode: before every collective the ranks compare operation, size and dtype; a mismatch shows both calls.
  bool checked = false;
  std::string name = "world";  ///< for messages
  Logger logger = {};
};

/// A group of ranks and the operations between them. Cheap to copy (shared state).
///
/// Dtypes: float64/32/16, bfloat16, int8/32/64, uint8, bool (as 0/1). Empty tensors are allowed. Tensors must be contiguous
/// (or dense: channels-last counts); another one is refused with a ConfigError. All methods are "Collective: all ranks, same
/// order" unless said otherwise, called from one thread. A failed or timed-out operation poisons the communicator: every
/// later call throws CommError at once.
class Communicator {
 public:
  struct Impl;
  /// A world of one rank, no MPI.
  static Communicator self();
  /// Collective.
  static Communicator create(const mpi::Comm& comm, c10::Device device, CommunicatorOptions options = {});

  int rank() const noexcept;
  int size() const noexcept;
  Backend backend() const noexcept;
  const std::string& name() const noexcept;
  const mpi::Comm& control() const noexcept;  ///< the control plane of the same ranks

  Work all_reduce(at::Tensor tensor, ReduceOp op = ReduceOp::sum);
  /// `input` [size * n] summed, rank r keeps elements [r n, (r+1) n) in `output` [n].
  Work reduce_scatter(at::Tensor output, at::Tensor input, ReduceOp op = ReduceOp::sum);
  /// `output` [size * n] = inputs [n] of all ranks in rank order.
  Work all_gather(at::Tensor output, at::Tensor input);
  Work broadcast(at::Tensor tensor, int root);
  /// Both [size * n]: block r of `input` goes to rank r.
  Work all_to_all(at::Tensor output, at::Tensor input);
  /// Point to point; both sides must call.
  Work send(at::Tensor tensor, int peer, int tag = 0);
  Work receive(at::Tensor tensor, int peer, int tag = 0);
  void barrier();
  /// Ranks with the same colour form a communicator.
  Communicator split(int color, int key, std::string name);

  /// Marks the communicator as failed: every later call throws CommError with this reason. Not collective.
  void poison(std::string reason) noexcept;
  /// Collective: completes parked operations and frees the handles.
  void close();

  explicit Communicator(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<Impl> impl_;
};

std::string_view to_string(Backend backend) noexcept;
/// @throws ConfigError with the names allowed.
Backend parse_backend(std::string_view text);

}  // namespace bunchtrain::comm
