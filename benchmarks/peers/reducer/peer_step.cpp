// SPDX-License-Identifier: Apache-2.0
#include "peer_step.hpp"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/optim/adamw.h>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "mpi_process_group.hpp"

namespace bunchtrain::benchmark {

namespace {

constexpr std::int64_t kFirstBucketBytes = 1 << 20;
constexpr std::int64_t kBucketBytes = 25 << 20;

std::unique_ptr<c10d::Reducer> create_reducer(const std::vector<at::Tensor>& parameters, bool bucket_view) {
  // DDP starts from reversed buckets of the parameters in order and rebuilds them after the first backward.
  auto indices = std::get<0>(c10d::compute_bucket_assignment_by_size(
      parameters, {static_cast<std::size_t>(kFirstBucketBytes), static_cast<std::size_t>(kBucketBytes)},
      std::vector<bool>(parameters.size(), false)));
  std::reverse(indices.begin(), indices.end());
  return std::make_unique<c10d::Reducer>(
      parameters, std::move(indices), create_mpi_process_group(), std::vector<bool>(parameters.size(), false),
      kBucketBytes, /*find_unused_parameters=*/false, bucket_view,
      std::unordered_map<std::size_t, std::string>{}, kFirstBucketBytes,
      /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false, std::vector<std::int64_t>{});
}

/// What torch.optim.AdamW(fused=True) does in Python (torch/optim/adam.py, _fused_adam): counts and moments
/// of all parameters, one operator.
class FusedAdamW {
 public:
  explicit FusedAdamW(std::vector<at::Tensor> parameters) : parameters_(std::move(parameters)) {
    for (const at::Tensor& parameter : parameters_) {
      means_.push_back(at::zeros_like(parameter));
      squares_.push_back(at::zeros_like(parameter));
      steps_.push_back(at::zeros({}, at::kFloat));
    }
  }
  void step() {
    const at::NoGradGuard no_gradients;
    std::vector<at::Tensor> gradients;
    for (const at::Tensor& parameter : parameters_) gradients.push_back(parameter.grad());
    at::_foreach_add_(steps_, 1);
    at::_fused_adamw_(parameters_, gradients, means_, squares_, {}, steps_, /*lr=*/1e-3, 0.9, 0.999,
                      /*weight_decay=*/1e-2, /*eps=*/1e-8, /*amsgrad=*/false, /*maximize=*/false);
  }

 private:
  std::vector<at::Tensor> parameters_, means_, squares_, steps_;
};

}  // namespace

struct PeerStep::Impl {
  Impl(std::shared_ptr<Stack> network, const PeerOptions& options)
      : net(std::move(network)),
        reducer(create_reducer(net->parameters(), options.bucket_view)),
        optimizer(net->parameters(), torch::optim::AdamWOptions(1e-3)) {
    if (options.fused) fused.emplace(net->parameters());
  }

  std::shared_ptr<Stack> net;
  std::unique_ptr<c10d::Reducer> reducer;
  torch::optim::AdamW optimizer;
  std::optional<FusedAdamW> fused;
};

PeerStep::PeerStep(std::shared_ptr<Stack> net, const PeerOptions& options)
    : impl_(std::make_unique<Impl>(std::move(net), options)) {}

PeerStep::~PeerStep() = default;

void PeerStep::step(const at::Tensor& input) {
  // Optimizer::zero_grad() of C++ throws for views of buckets; this is what it does to other gradients.
  for (const at::Tensor& parameter : impl_->net->parameters()) parameter.mutable_grad().reset();
  impl_->reducer->prepare_for_forward();
  impl_->reducer->rebuild_buckets();
  const at::Tensor loss = impl_->net->loss(input);
  impl_->reducer->prepare_for_backward({loss});
  loss.backward();
  if (impl_->fused) {
    impl_->fused->step();
  } else {
    impl_->optimizer.step();
  }
}

}  // namespace bunchtrain::benchmark
