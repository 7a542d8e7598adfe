// SPDX-License-Identifier: Apache-2.0
// Tensors between GPUs. Operations run on a stream of the communicator, ordered after the caller's stream by
// one event and before it by another; the host never waits.

#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <array>
#include <cstddef>
#include <tuple>
#include <utility>
#include <vector>

#include "backend.hpp"
#include "handles.hpp"
#include "nccl_communicator.hpp"
#include "watchdog.hpp"

namespace bunchtrain::comm::detail {
namespace {

ncclDataType_t native_type(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return ncclFloat64;
    case at::kFloat:
      return ncclFloat32;
    case at::kHalf:
      return ncclFloat16;
    case at::kBFloat16:
      return ncclBfloat16;
    case at::kChar:
      return ncclInt8;
    case at::kInt:
      return ncclInt32;
    case at::kLong:
      return ncclInt64;
    case at::kByte:
    case at::kBool:
      return ncclUint8;
    default:
      throw ConfigError(std::string("dtype ") + c10::toString(dtype) + " cannot travel over NCCL");
  }
}

ncclRedOp_t native_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      return ncclSum;
    case ReduceOp::min:
      return ncclMin;
    case ReduceOp::max:
      return ncclMax;
  }
  return ncclSum;
}

/// Where an operation is enqueued.
struct Target {
  ncclComm_t comm;
  cudaStream_t stream;
  int size;
};

ncclResult_t all_to_all(const NcclOperation& operation, const Target& target) {
  const auto type = native_type(operation.call.dtype);
  const auto count = static_cast<std::size_t>(operation.call.numel / target.size);
  const auto block_bytes = count * operation.buffers.input.element_size();
  const auto* input = static_cast<const std::byte*>(operation.buffers.input.const_data_ptr());
  auto* output = static_cast<std::byte*>(operation.buffers.output.mutable_data_ptr());
  ncclResult_t result = ncclSuccess;
  for (std::size_t peer = 0; peer < static_cast<std::size_t>(target.size) && is_accepted(result); ++peer) {
    const int rank = static_cast<int>(peer);
    result = ncclSend(input + peer * block_bytes, count, type, rank, target.comm, target.stream);
    if (is_accepted(result))
      result = ncclRecv(output + peer * block_bytes, count, type, rank, target.comm, target.stream);
  }
  return result;
}

ncclResult_t enqueue(const NcclOperation& operation, const Target& target) {
  const auto& [call, buffers] = std::tie(operation.call, operation.buffers);
  const auto type = native_type(call.dtype);
  const auto count = static_cast<std::size_t>(call.numel);
  const void* in = buffers.input.defined() ? buffers.input.const_data_ptr() : nullptr;
  void* out = buffers.output.defined() ? buffers.output.mutable_data_ptr() : nullptr;
  switch (call.operation) {
    case Operation::all_reduce:
      return ncclAllReduce(in, out, count, type, native_op(call.op), target.comm, target.stream);
    case Operation::reduce_scatter:
      return ncclReduceScatter(in, out, count / static_cast<std::size_t>(target.size), type,
                               native_op(call.op), target.comm, target.stream);
    case Operation::all_gather:
      return ncclAllGather(in, out, count, type, target.comm, target.stream);
    case Operation::broadcast:
      return ncclBroadcast(in, out, count, type, call.root, target.comm, target.stream);
    case Operation::all_to_all:
      return all_to_all(operation, target);
    case Operation::send:
      return ncclSend(in, count, type, call.root, target.comm, target.stream);
    case Operation::receive:
      return ncclRecv(out, count, type, call.root, target.comm, target.stream);
    default:
      throw CommError("not an operation on tensors: " + describe(call));
  }
}

using Operations = std::vector<std::shared_ptr<NcclOperation>>;

class NcclBackend : public CollectiveBackend {
 public:
  NcclBackend(const mpi::Comm& comm, c10::Device device, const CommunicatorOptions& options)
      : device_(device),
        size_(comm.size()),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device.index())),
        communicator_(comm, limits_of(options)),
        watchdog_(communicator_, device.index(), options.timeout) {}

  std::unique_ptr<InFlight> start(const Call& call, const Buffers& buffers) override;
  void while_waiting(std::function<void()> serve) override { communicator_.while_waiting(std::move(serve)); }
  void begin_capture() override;
  std::unique_ptr<InFlight> repeat(const Call& call, const std::function<void()>& launch) override;
  bool captures() const { return is_capturing(stream_.stream()); }
  c10::DeviceIndex device() const { return device_.index(); }
  /// Sends and receives start together, at the first poll of one of them or before the next collective: NCCL
  /// runs the operations of a communicator one after another, so two ranks that each send first would wait
  /// for each other.
  void launch_point_to_point();
  /// Takes note of what NCCL has enqueued by now; true if that is all.
  bool note_launched();
  void wait_until_launched();
  void poll_failures() const;
  void abort() noexcept override { communicator_.abort("the NCCL communicator was given up"); }
  void close() override { communicator_.finalize(); }

 private:
  void launch(Operations operations);

  c10::Device device_;
  int size_;
  c10::cuda::CUDAStream stream_;
  mutable NcclCommunicator communicator_;
  Watchdog watchdog_;
  Operations point_to_point_;
  Operations launching_;  // given to NCCL, which may not have enqueued them yet
};

class NcclInFlight : public InFlight {
 public:
  NcclInFlight(NcclBackend& backend, std::shared_ptr<NcclOperation> operation)
      : backend_(backend), operation_(std::move(operation)) {}

  bool poll() override {
    backend_.poll_failures();
    launch_if_waiting();
    if (!operation_->launched && !backend_.note_launched()) return false;
    // Of a capture that failed there is nothing to wait for.
    if (operation_->captured) return joined_ || !backend_.captures();
    return has_passed(operation_->done, operation_->call);
  }

  bool has_begun() override { return !operation_->launched || operation_->captured || operation_->begun; }

  bool order_current_stream() override {
    backend_.poll_failures();
    launch_if_waiting();
    if (!operation_->launched) backend_.wait_until_launched();
    const auto current = c10::cuda::getCurrentCUDAStream(backend_.device());
    check_cuda(cudaStreamWaitEvent(current.stream(), operation_->done.get(), 0), "cudaStreamWaitEvent");
    joined_ = true;
    return true;
  }

 private:
  void launch_if_waiting() {
    if (!operation_->issued) backend_.launch_point_to_point();
  }

  NcclBackend& backend_;
  std::shared_ptr<NcclOperation> operation_;
  bool joined_ = false;  ///< a stream waits for it
};

std::unique_ptr<InFlight> NcclBackend::start(const Call& call, const Buffers& buffers) {
  if (call.numel == 0) return nullptr;
  const c10::cuda::CUDAGuard guard(device_);
  auto operation = std::make_shared<NcclOperation>();
  operation->call = call;
  operation->buffers = buffers;
  const auto current = c10::cuda::getCurrentCUDAStream(device_.index());
  operation->captured = is_capturing(current.stream());
  check_cuda(cudaEventRecord(operation->ready.get(), current.stream()), "cudaEventRecord");
  if (call.is_point_to_point()) {
    point_to_point_.push_back(operation);
  } else {
    launch_point_to_point();
    launch({operation});
  }
  return std::make_unique<NcclInFlight>(*this, std::move(operation));
}

/// What was issued before is no part of the graph.
void NcclBackend::begin_capture() {
  launch_point_to_point();
  wait_until_launched();
  communicator_.expect_graphs();
}

/// To the watchdog it is one operation between the events around the launch.
std::unique_ptr<InFlight> NcclBackend::repeat(const Call& call, const std::function<void()>& launch) {
  const c10::cuda::CUDAGuard guard(device_);
  launch_point_to_point();
  wait_until_launched();
  auto operation = std::make_shared<NcclOperation>();
  operation->call = call;
  operation->issued = true;
  const auto current = c10::cuda::getCurrentCUDAStream(device_.index());
  check_cuda(cudaEventRecord(operation->ready.get(), current.stream()), "cudaEventRecord");
  launch();
  check_cuda(cudaEventRecord(operation->done.get(), current.stream()), "cudaEventRecord");
  operation->launched = true;
  watchdog_.watch(operation);
  return std::make_unique<NcclInFlight>(*this, std::move(operation));
}

void NcclBackend::launch_point_to_point() {
  if (!point_to_point_.empty()) launch(std::exchange(point_to_point_, {}));
}

void NcclBackend::launch(Operations operations) {
  wait_until_launched();
  const c10::cuda::CUDAGuard guard(device_);
  for (const auto& operation : operations) {
    check_cuda(cudaStreamWaitEvent(stream_.stream(), operation->ready.get(), 0), "cudaStreamWaitEvent");
    // The allocator must not hand the memory to somebody else before this stream is through with it.
    if (operation->buffers.input.defined()) operation->buffers.input.record_stream(stream_.unwrap());
    if (operation->buffers.output.defined()) operation->buffers.output.record_stream(stream_.unwrap());
  }
  communicator_.issue(describe(operations.front()->call), [&](ncclComm_t comm) {
    NcclGroup group;
    ncclResult_t result = group.begun();
    for (const auto& operation : operations) {
      if (is_accepted(result))
        result = enqueue(*operation, {.comm = comm, .stream = stream_.stream(), .size = size_});
    }
    const ncclResult_t end = group.end();
    return is_accepted(result) ? end : result;
  });
  for (const auto& operation : operations) operation->issued = true;
  launching_ = std::move(operations);
  if (launching_.front()->captured) wait_until_launched();  // before the capture ends
}

bool NcclBackend::note_launched() {
  if (launching_.empty()) return true;
  if (!communicator_.is_settled()) return false;
  const c10::cuda::CUDAGuard guard(device_);
  for (const auto& operation : launching_) {
    check_cuda(cudaEventRecord(operation->done.get(), stream_.stream()), "cudaEventRecord");
    operation->launched = true;
    watchdog_.watch(operation);
  }
  launching_.clear();
  return true;
}

void NcclBackend::wait_until_launched() {
  if (launching_.empty()) return;
  communicator_.settle();
  note_launched();
}

void NcclBackend::poll_failures() const {
  const std::string error = communicator_.asynchronous_error();
  if (error.empty()) return;
  if (watchdog_.timed_out()) throw OperationTimeout(error);
  throw CommError(error);
}

}  // namespace

std::unique_ptr<CollectiveBackend> create_nccl_backend(const mpi::Comm& comm, c10::Device device,
                                                       const CommunicatorOptions& options) {
  const c10::cuda::CUDAGuard guard(device);  // NCCL takes the current device
  return std::make_unique<NcclBackend>(comm, device, options);
}

bool nccl_is_built() noexcept { return true; }

std::string pci_bus_id(c10::Device device) {
  std::array<char, 32> text{};
  const int index = device.has_index() ? device.index() : c10::cuda::current_device();
  check_cuda(cudaDeviceGetPCIBusId(text.data(), static_cast<int>(text.size()), index),
             "cudaDeviceGetPCIBusId");
  return text.data();
}

}  // namespace bunchtrain::comm::detail
