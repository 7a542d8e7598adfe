// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tensor/parameter_arena.hpp"

#include <ATen/autocast_mode.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/as_strided.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <sstream>
#include <unordered_set>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::tensor {

namespace {

constexpr std::int64_t kAlignmentBytes = 64;

template <class Value>
std::string shown(const Value& value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

std::int64_t aligned(std::int64_t elements, std::int64_t element_bytes) {
  const std::int64_t unit = std::max<std::int64_t>(1, kAlignmentBytes / element_bytes);
  return (elements + unit - 1) / unit * unit;
}

void require_usable(const NamedParameter& parameter, const at::Tensor& first) {
  const std::string name = "parameter " + parameter.name;
  const at::Tensor& tensor = parameter.tensor;
  expects(tensor.defined() && tensor.layout() == at::kStrided, name + " is not a dense tensor");
  expects(at::isFloatingType(tensor.scalar_type()),
          name + " has dtype " + shown(tensor.dtype()) +
              "; parameters are floating point: register it as a buffer");
  expects(!tensor.is_inference(), name + " was made in inference mode; build the module outside of it");
  expects(tensor.is_leaf(), name + " is the result of a computation, not a leaf of autograd");
  expects(
      tensor.is_non_overlapping_and_dense(),
      name + " is expanded or has gaps between its elements; call contiguous() on it before registering it");
  expects(tensor.dtype() == first.dtype() && tensor.device() == first.device(),
          name + " is " + shown(tensor.dtype()) + " on " + shown(tensor.device()) + ", the arena is " +
              shown(first.dtype()) + " on " + shown(first.device()));
}

/// Two distinct parameters over the same memory would come apart when they are moved.
void require_disjoint(const std::vector<NamedParameter>& parameters) {
  struct Range {
    const char* begin;
    const char* end;
    const std::string* name;
  };
  std::vector<Range> ranges;
  for (const NamedParameter& parameter : parameters) {
    const auto* begin = static_cast<const char*>(parameter.tensor.const_data_ptr());
    if (parameter.tensor.numel() > 0)
      ranges.push_back({begin, begin + parameter.tensor.nbytes(), &parameter.name});
  }
  std::ranges::sort(ranges, {}, &Range::begin);
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    expects(ranges[i - 1].end <= ranges[i].begin, "parameters " + *ranges[i - 1].name + " and " +
                                                      *ranges[i].name +
                                                      " share memory; register one tensor twice instead");
  }
}

std::vector<NamedParameter> without_repetitions(std::vector<NamedParameter> parameters) {
  std::unordered_set<const at::TensorImpl*> seen;
  std::erase_if(parameters, [&](const NamedParameter& parameter) {
    return !seen.insert(parameter.tensor.unsafeGetTensorImpl()).second;
  });
  return parameters;
}

}  // namespace

struct ParameterArena::Impl {
  /// What a parameter looked like when it moved in, and its two views.
  struct Resident {
    at::Tensor parameter;
    at::Tensor value;
    at::Tensor gradient;
  };

  at::Tensor values;
  at::Tensor gradients;
  at::Tensor gradients_with_footer;
  std::vector<ArenaSegment> segments;
  std::vector<Resident> residents;
  std::int64_t numel = 0;

  void allocate(const std::vector<NamedParameter>& parameters);
  void move_in(const NamedParameter& parameter, std::size_t segment);
  void repair();
  void repair_parameter(std::size_t segment);
  void repair_gradient(std::size_t segment, bool gradients_are_zero);
  bool all_gradients_undefined() const;
};

namespace {

/// Below autograd: the view has no base that autograd knows, so that `detach_()` and `set_data` accept it.
at::Tensor raw_view(const at::Tensor& flat, const at::Tensor& like, std::int64_t offset) {
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return at::as_strided(flat, like.sizes(), like.strides(), offset);
}

bool same_place(const at::Tensor& tensor, const at::Tensor& view) {
  return tensor.layout() == at::kStrided && tensor.const_data_ptr() == view.const_data_ptr() &&
         tensor.strides() == view.strides() && tensor.sizes() == view.sizes();
}

}  // namespace

void ParameterArena::Impl::allocate(const std::vector<NamedParameter>& parameters) {
  const at::Tensor& first = parameters.front().tensor;
  std::int64_t offset = 0;
  for (const auto& [name, tensor] : parameters) {
    segments.push_back({name, offset, tensor.numel(), tensor.requires_grad()});
    offset += aligned(tensor.numel(), static_cast<std::int64_t>(tensor.element_size()));
    numel += tensor.numel();
  }
  const at::NoGradGuard no_grad;
  values = at::zeros({offset}, first.options().requires_grad(false));
  gradients_with_footer = at::zeros({offset + kFooterElements}, values.options());
  gradients = gradients_with_footer.narrow(0, 0, offset);
}

void ParameterArena::Impl::move_in(const NamedParameter& parameter, std::size_t segment) {
  const at::NoGradGuard no_grad;
  const std::int64_t offset = segments[segment].offset;
  Resident resident{parameter.tensor, raw_view(values, parameter.tensor, offset),
                    raw_view(gradients, parameter.tensor, offset)};
  resident.value.copy_(parameter.tensor.detach());
  resident.parameter.set_data(resident.value);
  residents.push_back(std::move(resident));
  repair_gradient(segment, /*gradients_are_zero=*/true);
}

void ParameterArena::Impl::repair_parameter(std::size_t segment) {
  Resident& resident = residents[segment];
  const at::Tensor& parameter = resident.parameter;
  const std::string& name = segments[segment].name;
  if (parameter.dtype() != values.dtype() || parameter.device() != values.device()) {
    throw ConfigError("parameter " + name + " became " + shown(parameter.dtype()) + " on " +
                      shown(parameter.device()) + " after it moved into an arena of " +
                      shown(values.dtype()) + " on " + shown(values.device()) +
                      "; call to() before constructing the arena (DataParallel)");
  }
  if (parameter.sizes() != resident.value.sizes()) {
    throw ConfigError("parameter " + name + " changed its shape from " + shown(resident.value.sizes()) +
                      " to " + shown(parameter.sizes()) + " after it moved into an arena");
  }
  segments[segment].requires_grad = parameter.requires_grad();
  if (same_place(parameter, resident.value)) return;
  resident.value.copy_(parameter.detach());
  resident.parameter.set_data(resident.value);
}

void ParameterArena::Impl::repair_gradient(std::size_t segment, bool gradients_are_zero) {
  Resident& resident = residents[segment];
  const at::Tensor& found = resident.parameter.grad();
  if (!segments[segment].requires_grad) {
    if (!found.defined()) return;
    resident.gradient.zero_();
    resident.parameter.mutable_grad().reset();
    return;
  }
  if (!found.defined()) {
    if (!gradients_are_zero) resident.gradient.zero_();
  } else if (same_place(found, resident.gradient)) {
    return;
  } else {
    expects(!found.is_sparse(), "parameter " + segments[segment].name +
                                    " has a sparse gradient; build its Embedding with sparse(false)");
    resident.gradient.copy_(found.detach());
  }
  resident.parameter.mutable_grad() = resident.gradient;
}

bool ParameterArena::Impl::all_gradients_undefined() const {
  return std::ranges::none_of(residents,
                              [](const Resident& resident) { return resident.parameter.grad().defined(); });
}

void ParameterArena::Impl::repair() {
  const at::NoGradGuard no_grad;
  // After zero_grad() nothing is bound: one fill instead of one per parameter.
  const bool zeroed = all_gradients_undefined();
  if (zeroed) gradients.zero_();
  for (std::size_t segment = 0; segment < residents.size(); ++segment) {
    repair_parameter(segment);
    repair_gradient(segment, zeroed);
  }
}

ParameterArena::ParameterArena(std::vector<NamedParameter> parameters) : impl_(std::make_unique<Impl>()) {
  parameters = without_repetitions(std::move(parameters));
  expects(!parameters.empty(), "an arena needs at least one parameter; the module has none");
  for (const NamedParameter& parameter : parameters) require_usable(parameter, parameters.front().tensor);
  require_disjoint(parameters);
  impl_->allocate(parameters);
  for (std::size_t segment = 0; segment < parameters.size(); ++segment)
    impl_->move_in(parameters[segment], segment);
  bump_versions();
}

ParameterArena::~ParameterArena() = default;
ParameterArena::ParameterArena(ParameterArena&&) noexcept = default;
ParameterArena& ParameterArena::operator=(ParameterArena&&) noexcept = default;

const at::Tensor& ParameterArena::values() const noexcept { return impl_->values; }
const at::Tensor& ParameterArena::gradients() const noexcept { return impl_->gradients; }
const at::Tensor& ParameterArena::gradients_with_footer() const noexcept {
  return impl_->gradients_with_footer;
}
std::span<const ArenaSegment> ParameterArena::segments() const noexcept { return impl_->segments; }
std::int64_t ParameterArena::numel() const noexcept { return impl_->numel; }

const at::Tensor& ParameterArena::parameter(std::size_t segment) const noexcept {
  return impl_->residents[segment].parameter;
}

at::Tensor ParameterArena::make_like() const {
  const at::NoGradGuard no_grad;
  return at::zeros_like(impl_->values);
}

at::Tensor ParameterArena::view(const at::Tensor& flat, std::size_t segment) const {
  return raw_view(flat, impl_->residents[segment].value, impl_->segments[segment].offset);
}

void ParameterArena::zero_gradients() {
  const at::NoGradGuard no_grad;
  impl_->gradients.zero_();
  for (const auto& resident : impl_->residents) resident.gradient.unsafeGetTensorImpl()->bump_version();
}

void ParameterArena::begin_pass() { impl_->repair(); }
void ParameterArena::end_pass() { impl_->repair(); }

void ParameterArena::settle_gradient(std::size_t segment) {
  const at::NoGradGuard no_grad;
  impl_->repair_gradient(segment, /*gradients_are_zero=*/false);
}

void ParameterArena::bump_versions() {
  for (const auto& resident : impl_->residents) resident.parameter.unsafeGetTensorImpl()->bump_version();
  at::autocast::clear_cache();
}

ParameterArenas create_arenas(std::vector<NamedParameter> parameters) {
  std::vector<std::vector<NamedParameter>> groups;
  for (NamedParameter& parameter : parameters) {
    expects(parameter.tensor.defined(), "parameter " + parameter.name + " is undefined");
    const auto group = std::ranges::find_if(groups, [&](const auto& members) {
      const at::Tensor& first = members.front().tensor;
      return first.dtype() == parameter.tensor.dtype() && first.device() == parameter.tensor.device();
    });
    if (group != groups.end()) {
      group->push_back(std::move(parameter));
    } else {
      groups.push_back({std::move(parameter)});
    }
  }
  expects(!groups.empty(), "an arena needs at least one parameter; the module has none");
  ParameterArenas arenas;
  for (auto& group : groups) arenas.emplace_back(std::move(group));
  return arenas;
}

}  // namespace bunchtrain::tensor
