// SPDX-License-Identifier: Apache-2.0
// Invariant: both ends of a pair count the same messages in the same order (`messages`), and know from the same facts whether
// a header goes before one; so nothing but bytes travels.
#include "links.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::parallel {
namespace {

constexpr int kHeaderTag = 1, kTensorTag = 2;
/// Receives that wait for tensors of one peer: one arrives while another is used.
constexpr std::size_t kAhead = 2;

}  // namespace

TensorHeader TensorHeader::of(const at::Tensor& tensor, bool requires_grad) {
  return {.dtype = tensor.scalar_type(), .requires_grad = requires_grad, .sizes = tensor.sizes().vec()};
}

at::Tensor TensorHeader::to_tensor() const {
  if (sizes.size() > kDimensions)
    throw ConfigError(
        fmt::format("a tensor of {} dimensions leaves a stage; it may have {}", sizes.size(), kDimensions));
  std::vector<std::int64_t> numbers(kNumbers, 0);
  numbers[0] = static_cast<std::int64_t>(dtype);
  numbers[1] = requires_grad ? 1 : 0;
  numbers[2] = static_cast<std::int64_t>(sizes.size());
  std::ranges::copy(sizes, numbers.begin() + 3);
  return at::tensor(numbers, at::kLong);
}

TensorHeader TensorHeader::from(const at::Tensor& numbers) {
  const std::int64_t* of = numbers.const_data_ptr<std::int64_t>();
  return {.dtype = static_cast<at::ScalarType>(of[0]),
          .requires_grad = of[1] != 0,
          .sizes = std::vector<std::int64_t>(of + 3, of + 3 + of[2])};
}

Links::Links(comm::Communicator ranks, c10::Device device, const PipelineSchedule& schedule,
             std::vector<Connection> connections, bool dynamic_shapes)
    : ranks_(std::move(ranks)),
      device_(device),
      schedule_(&schedule),
      connections_(std::move(connections)),
      dynamic_shapes_(dynamic_shapes) {
  for (int rank = 0; rank < ranks_.size(); ++rank) {
    std::vector<Message> order = messages(schedule, connections_, rank, ranks_.rank());
    const bool sends = !messages(schedule, connections_, ranks_.rank(), rank).empty();
    if (!order.empty() || sends) peers_[rank].order = std::move(order);
  }
  if (ranks_.backend() == comm::Backend::nccl) connect();
}

/// Pairs that have no rank in common are split off at once.
void Links::connect() {
  std::set<std::pair<int, int>> left;
  for (int from = 0; from < ranks_.size(); ++from)
    for (int to = 0; to < ranks_.size(); ++to)
      if (!messages(*schedule_, connections_, from, to).empty()) left.insert({from, to});
  while (!left.empty()) {
    std::map<int, std::pair<int, int>> taken;  // by rank
    for (const auto& pair : left)
      if (!taken.contains(pair.first) && !taken.contains(pair.second))
        taken[pair.first] = taken[pair.second] = pair;
    for (const auto& [rank, pair] : taken) left.erase(pair);
    const int here = ranks_.rank();
    const auto mine = taken.find(here);
    const int color = mine == taken.end() ? here : std::min(mine->second.first, mine->second.second);
    comm::Communicator part = ranks_.split(color, here, ranks_.name() + " link");
    if (mine == taken.end()) continue;
    const auto [from, to] = mine->second;
    (from == here ? peers_[to].out : peers_[from].in) = part;
    at::Tensor warm_up = at::empty({1}, at::TensorOptions().device(device_));
    (from == here ? part.send(warm_up, to > from ? 1 : 0) : part.receive(warm_up, from > to ? 1 : 0)).wait();
  }
}

int Links::sender(const Message& message) const {
  const Connection& connection = connections_[message.connection];
  return schedule_->rank_of(message.gradient ? connection.to : connection.from);
}

int Links::receiver(const Message& message) const {
  const Connection& connection = connections_[message.connection];
  return schedule_->rank_of(message.gradient ? connection.from : connection.to);
}

std::string Links::describe(const Message& message) const {
  const Connection& connection = connections_[message.connection];
  return fmt::format("{}'{}' of microbatch {} from stage {} to stage {}",
                     message.gradient ? "the gradient of " : "", connection.value, message.microbatch,
                     message.gradient ? connection.to : connection.from,
                     message.gradient ? connection.from : connection.to);
}

void Links::begin(std::function<bool(const Message&)> wanted, std::function<std::int64_t(int)> shape_key) {
  wanted_ = std::move(wanted);
  shape_key_ = std::move(shape_key);
  forward_.clear();
  arrived_.clear();
  for (auto& [rank, peer] : peers_) peer.next = 0;
}

comm::Work Links::start_send(const at::Tensor& tensor, int peer) {
  auto& link = peers_.at(peer).out;
  if (link) return link->send(tensor, peer > ranks_.rank() ? 1 : 0);
  return ranks_.send(tensor, peer, kTensorTag);
}

comm::Work Links::start_receive(const at::Tensor& tensor, int peer) {
  auto& link = peers_.at(peer).in;
  if (link) return link->receive(tensor, peer > ranks_.rank() ? 1 : 0);
  return ranks_.receive(tensor, peer, kTensorTag);
}

void Links::send(const Message& message, const at::Tensor& tensor, bool requires_grad) {
  const int peer = receiver(message);
  const TensorHeader ours = TensorHeader::of(tensor, requires_grad);
  const auto [known, is_new] =
      known_.emplace(ShapeKey{message.connection, shape_key_(message.microbatch)}, ours);
  if (is_new || dynamic_shapes_) {
    const at::Tensor numbers = ours.to_tensor().to(device_);
    sending_.push_back(peers_.at(peer).out ? start_send(numbers, peer)
                                           : ranks_.send(numbers, peer, kHeaderTag));
  } else if (known->second != ours) {
    throw ConfigError(fmt::format(
        "{} has shape [{}], and another microbatch of as many samples had [{}]: set PipelineOptions::dynamic_shapes",
        describe(message), fmt::join(ours.sizes, ", "), fmt::join(known->second.sizes, ", ")));
  }
  forward_[{message.connection, message.microbatch}] = ours;
  if (tensor.numel() > 0) sending_.push_back(start_send(tensor.contiguous(), peer));
}

void Links::send_gradient(const Message& message, const at::Tensor& gradient) {
  const TensorHeader& of = forward_.at({message.connection, message.microbatch});
  const at::Tensor sent = gradient.defined()
                              ? gradient.to(of.dtype).contiguous()
                              : at::zeros(of.sizes, at::TensorOptions(of.dtype).device(device_));
  if (sent.numel() > 0) sending_.push_back(start_send(sent, receiver(message)));
}

bool Links::has_gradient(const Message& message) const {
  return forward_.at({message.connection, message.microbatch}).requires_grad;
}

std::optional<TensorHeader> Links::header(const Message& message, int peer, bool wait) {
  if (message.gradient) {
    const auto sent = forward_.find({message.connection, message.microbatch});
    return sent == forward_.end() ? std::nullopt : std::optional(sent->second);
  }
  const ShapeKey key{message.connection, shape_key_(message.microbatch)};
  if (const auto known = known_.find(key); known != known_.end() && !dynamic_shapes_) return known->second;
  if (!wait) return std::nullopt;
  at::Tensor numbers = at::empty({TensorHeader::kNumbers}, at::TensorOptions(at::kLong).device(device_));
  (peers_.at(peer).in ? start_receive(numbers, peer) : ranks_.receive(numbers, peer, kHeaderTag)).wait();
  return known_[key] = TensorHeader::from(numbers.cpu());
}

bool Links::post_next(int rank, bool wait) {
  Peer& peer = peers_.at(rank);
  while (peer.next < peer.order.size()) {
    const Message& message = peer.order[peer.next];
    if (!wanted_(message)) {
      ++peer.next;
      continue;
    }
    const auto found = header(message, rank, wait);
    if (!found) return false;
    ++peer.next;
    if (message.gradient && !found->requires_grad) continue;  // nobody sends one
    Posted posted{.message = message, .header = *found};
    if (!message.gradient) forward_[{message.connection, message.microbatch}] = *found;
    posted.tensor = at::empty(found->sizes, at::TensorOptions(found->dtype).device(device_));
    if (posted.tensor.numel() > 0) posted.work = start_receive(posted.tensor, rank);
    peer.posted.push_back(std::move(posted));
    return true;
  }
  return false;
}

Links::Received Links::receive(const Message& message) {
  const int rank = sender(message);
  Peer& peer = peers_.at(rank);
  while (!arrived_.contains(message)) {
    if (peer.posted.empty())
      expects(post_next(rank, /*wait=*/true), "a pipeline waits for a message that nobody sends");
    Posted posted = std::move(peer.posted.front());
    peer.posted.pop_front();
    if (posted.work.valid()) posted.work.wait();
    arrived_[posted.message] = {.tensor = posted.tensor, .requires_grad = posted.header.requires_grad};
  }
  return arrived_.extract(message).mapped();
}

void Links::progress() {
  for (auto& [rank, peer] : peers_) {
    while (peer.posted.size() < kAhead && post_next(rank, /*wait=*/false)) {
    }
    for (Posted& posted : peer.posted)
      if (posted.work.valid()) posted.work.poll();
  }
  while (!sending_.empty() && sending_.front().poll()) sending_.pop_front();
}

void Links::finish() {
  for (comm::Work& work : sending_) work.wait();
  sending_.clear();
}

}  // namespace bunchtrain::parallel
