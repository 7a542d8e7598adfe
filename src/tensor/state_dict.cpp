// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tensor/state_dict.hpp"

#include <array>
#include <charconv>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain {

namespace {

/// Shortest text that reads back to the same bits.
template <class Number>
std::string to_text(Number value) {
  std::array<char, 64> buffer;
  const auto [end, status] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  static_cast<void>(status);  // 64 characters hold every number
  return {buffer.data(), end};
}

template <class Number>
Number from_text(std::string_view name, const std::string& text, std::string_view kind) {
  Number value{};
  const char* const last = text.data() + text.size();
  const auto [end, status] = std::from_chars(text.data(), last, value);
  if (status != std::errc() || end != last) {
    throw CheckpointError("state entry \"" + std::string(name) + "\" is \"" + text + "\", which is not " +
                          std::string(kind));
  }
  return value;
}

bool has_prefix(std::string_view name, std::string_view prefix) {
  return name.size() > prefix.size() && name.starts_with(prefix) && name[prefix.size()] == '.';
}

}  // namespace

void StateDict::set(std::string name, std::int64_t value) { set(std::move(name), to_text(value)); }

void StateDict::set(std::string name, double value) { set(std::move(name), to_text(value)); }

void StateDict::set(std::string name, std::string value) {
  values.insert_or_assign(std::move(name), std::move(value));
}

void StateDict::set_slice(std::string name, at::Tensor part, tensor::Slice slice) {
  expects(part.sizes() == slice.held_sizes(), "a part of a tensor has the sizes of its slice");
  slices.insert_or_assign(name, std::move(slice));
  tensors.set(std::move(name), std::move(part));
}

tensor::Slice StateDict::slice_of(std::string_view name) const {
  const auto found = slices.find(name);
  return found == slices.end() ? tensor::Slice::whole(tensors[name].sizes()) : found->second;
}

std::int64_t StateDict::integer(std::string_view name) const {
  return from_text<std::int64_t>(name, text(name), "an integer");
}

double StateDict::real(std::string_view name) const {
  return from_text<double>(name, text(name), "a number");
}

const std::string& StateDict::text(std::string_view name) const {
  const auto place = values.find(name);
  if (place == values.end()) {
    throw CheckpointError("state entry \"" + std::string(name) +
                          "\" is missing: the checkpoint was written by another kind of object");
  }
  return place->second;
}

void StateDict::merge(std::string_view prefix, const StateDict& other) {
  const std::string start = std::string(prefix) + ".";
  for (const auto& [name, tensor] : other.tensors) tensors.set(start + name, tensor);
  for (const auto& [name, value] : other.values) values.insert_or_assign(start + name, value);
  for (const auto& [name, slice] : other.slices) slices.insert_or_assign(start + name, slice);
}

StateDict StateDict::child(std::string_view prefix) const {
  StateDict result;
  for (const auto& [name, tensor] : tensors) {
    if (has_prefix(name, prefix)) result.tensors.set(name.substr(prefix.size() + 1), tensor);
  }
  for (const auto& [name, value] : values) {
    if (has_prefix(name, prefix)) result.values.emplace(name.substr(prefix.size() + 1), value);
  }
  for (const auto& [name, slice] : slices) {
    if (has_prefix(name, prefix)) result.slices.emplace(name.substr(prefix.size() + 1), slice);
  }
  return result;
}

}  // namespace bunchtrain
