// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How the ranks of a pipeline hand tensors to one another.

#include <ATen/core/Tensor.h>

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "connections.hpp"

namespace bunchtrain::parallel {

/// A tensor as its receiver has to allocate it.
struct TensorHeader {
  static constexpr std::int64_t kDimensions = 8, kNumbers = kDimensions + 3;

  at::ScalarType dtype = at::kFloat;
  bool requires_grad = false;
  std::vector<std::int64_t> sizes = {};

  static TensorHeader of(const at::Tensor& tensor, bool requires_grad);
  at::Tensor to_tensor() const;
  static TensorHeader from(const at::Tensor& numbers);
  bool operator==(const TensorHeader&) const = default;
};

/// The tensors of one pass through a pipeline, by connection and microbatch. Sends wait for nobody; receives are posted in the
/// order of their sender. Over NCCL each direction between two ranks has a communicator, and so a stream, of its own: what
/// one rank sends never queues behind what it waits for.
class Links {
 public:
  /// @param device where tensors are
  Links(comm::Communicator ranks, c10::Device device, const PipelineSchedule& schedule,
        std::vector<Connection> connections, bool dynamic_shapes);

  /// Begins a pass. @param wanted whether a message travels in it
  /// @param shape_key what shapes depend on: the number of samples of a microbatch
  void begin(std::function<bool(const Message&)> wanted,
             std::function<std::int64_t(int microbatch)> shape_key);
  void send(const Message& message, const at::Tensor& tensor, bool requires_grad);
  /// Undefined: zeros.
  void send_gradient(const Message& message, const at::Tensor& gradient);
  /// Whether a tensor that this rank sent has a gradient, which comes back as `message`.
  bool has_gradient(const Message& message) const;
  struct Received {
    at::Tensor tensor;
    bool requires_grad;
  };
  Received receive(const Message& message);
  /// Posts receives that may be posted, and lets what is under way make progress.
  void progress();
  /// Waits until all that was sent is on its way.
  void finish();

  const std::vector<Connection>& connections() const noexcept { return connections_; }
  /// "'skip1' of microbatch 3 from stage 0 to stage 2"
  std::string describe(const Message& message) const;
  /// Rank that has the other end.
  int sender(const Message& message) const;
  int receiver(const Message& message) const;

 private:
  struct Posted {
    Message message;
    TensorHeader header;
    at::Tensor tensor = {};
    comm::Work work = {};
  };
  struct Peer {
    std::vector<Message> order = {};  ///< of all messages that it ever sends in a pass
    std::size_t next = 0;
    std::deque<Posted> posted = {};
    std::optional<comm::Communicator> in = {}, out = {};  ///< over NCCL, of two ranks
  };

  using ShapeKey = std::pair<int, std::int64_t>;

  void connect();
  comm::Work start_send(const at::Tensor& tensor, int peer);
  comm::Work start_receive(const at::Tensor& tensor, int peer);
  /// Of a message that is the next one of its sender; nothing if it has to be sent ahead and may not be waited for.
  std::optional<TensorHeader> header(const Message& message, int peer, bool wait);
  bool post_next(int peer, bool wait);

  comm::Communicator ranks_;
  c10::Device device_;
  const PipelineSchedule* schedule_;
  std::vector<Connection> connections_;
  bool dynamic_shapes_;
  std::map<int, Peer> peers_;
  std::function<bool(const Message&)> wanted_;
  std::function<std::int64_t(int)> shape_key_;
  std::map<ShapeKey, TensorHeader> known_;  ///< by connection and shape key, as agreed with the other end
  std::map<std::pair<int, int>, TensorHeader> forward_;  ///< of this pass, by connection and microbatch
  std::map<Message, Received> arrived_;
  std::deque<comm::Work> sending_;
};

}  // namespace bunchtrain::parallel
