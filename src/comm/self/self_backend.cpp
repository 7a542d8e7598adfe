// SPDX-License-Identifier: Apache-2.0
// A world of one rank: most operations have nothing to do, the others copy.

#include <algorithm>
#include <deque>

#include "backend.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::comm::detail {
namespace {

/// A tensor that was sent to oneself and not received yet.
struct Letter {
  int tag;
  at::Tensor tensor;
};
using Mailbox = std::deque<Letter>;

void copy(const at::Tensor& destination, const at::Tensor& source) {
  if (destination.const_data_ptr() == source.const_data_ptr() || source.numel() == 0) return;
  flat(destination).copy_(flat(source), /*non_blocking=*/true);
}

/// A receive that waits for its send.
class SelfReceive : public InFlight {
 public:
  SelfReceive(std::shared_ptr<Mailbox> mailbox, int tag, at::Tensor output)
      : mailbox_(std::move(mailbox)), tag_(tag), output_(std::move(output)) {}

  bool poll() override {
    const auto letter = std::ranges::find(*mailbox_, tag_, &Letter::tag);
    if (letter == mailbox_->end()) return false;
    if (letter->tensor.numel() != output_.numel() || letter->tensor.scalar_type() != output_.scalar_type()) {
      throw CommError("receive from the own rank: size or dtype differ from what was sent");
    }
    copy(output_, letter->tensor);
    mailbox_->erase(letter);
    return true;
  }

 private:
  std::shared_ptr<Mailbox> mailbox_;
  int tag_;
  at::Tensor output_;
};

class SelfBackend : public CollectiveBackend {
 public:
  std::unique_ptr<InFlight> start(const Call& call, const Buffers& buffers) override {
    switch (call.operation) {
      case Operation::reduce_scatter:
      case Operation::all_gather:
      case Operation::all_to_all:
        copy(buffers.output, buffers.input);
        return nullptr;
      case Operation::send:
        mailbox_->push_back({call.tag, flat(buffers.input).clone()});
        return nullptr;
      case Operation::receive:
        return std::make_unique<SelfReceive>(mailbox_, call.tag, buffers.output);
      default:
        return nullptr;
    }
  }

 private:
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
};

}  // namespace

std::unique_ptr<CollectiveBackend> create_self_backend() { return std::make_unique<SelfBackend>(); }

}  // namespace bunchtrain::comm::detail
