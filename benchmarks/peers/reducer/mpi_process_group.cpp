// SPDX-License-Identifier: Apache-2.0
#include "mpi_process_group.hpp"

#include <mpi.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include <vector>

namespace bunchtrain::benchmark {

namespace {

/// An operation that was over when it returned, as c10d's own MPI backend executes them (there
/// on a thread of its own).
class FinishedWork : public c10d::Work {
 public:
  explicit FinishedWork(const std::vector<at::Tensor>& tensors)
      : future_(c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()))) {
    future_->markCompleted(c10::IValue(tensors));
  }
  bool isCompleted() override { return true; }
  bool isSuccess() const override { return true; }
  bool wait(std::chrono::milliseconds /*timeout*/) override { return true; }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override { return future_; }

 private:
  c10::intrusive_ptr<c10::ivalue::Future> future_;
};

MPI_Datatype native_type(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return MPI_FLOAT;
    case at::kInt:
      return MPI_INT32_T;
    case at::kLong:
      return MPI_INT64_T;
    default:
      TORCH_CHECK(false, "benchmark: dtype ", tensor.scalar_type(), " is not needed by c10d::Reducer");
  }
}

class MpiBackend : public c10d::Backend {
 public:
  using Backend::Backend;

  const std::string getBackendName() const override { return "bunchtrain_mpi"; }

  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors,
                                           const c10d::AllreduceOptions& /*options*/) override {
    at::Tensor& tensor = tensors.front();
    MPI_Allreduce(MPI_IN_PLACE, tensor.mutable_data_ptr(), static_cast<int>(tensor.numel()),
                  native_type(tensor), MPI_SUM, MPI_COMM_WORLD);
    return c10::make_intrusive<FinishedWork>(tensors);
  }

  c10::intrusive_ptr<c10d::Work> broadcast(std::vector<at::Tensor>& tensors,
                                           const c10d::BroadcastOptions& options) override {
    at::Tensor& tensor = tensors.front();
    MPI_Bcast(tensor.mutable_data_ptr(), static_cast<int>(tensor.numel()), native_type(tensor),
              static_cast<int>(options.rootRank), MPI_COMM_WORLD);
    return c10::make_intrusive<FinishedWork>(tensors);
  }
};

}  // namespace

c10::intrusive_ptr<c10d::ProcessGroup> create_mpi_process_group() {
  int rank = 0;
  int size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  auto group = c10::make_intrusive<c10d::ProcessGroup>(rank, size);
  constexpr auto kType = c10d::ProcessGroup::BackendType::CUSTOM;
  group->setBackend(c10::kCPU, kType, c10::make_intrusive<MpiBackend>(rank, size));
  group->setDefaultBackend(kType);
  return group;
}

}  // namespace bunchtrain::benchmark
