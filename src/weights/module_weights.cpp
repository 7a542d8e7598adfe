// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/weights/module_weights.hpp"

#include <ATen/ops/isfinite.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <torch/nn/module.h>

#include <unordered_map>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::weights {
namespace {

constexpr std::string_view kClassesKey = "classes";

/// weaver saves "mod.fc.weight", DistributedDataParallel "module.fc.weight"; both may be stacked.
std::string_view strip_prefixes(std::string_view name) {
  for (bool stripped = true; stripped;) {
    stripped = false;
    for (const std::string_view prefix : {std::string_view("module."), std::string_view("mod.")}) {
      if (name.starts_with(prefix)) {
        name.remove_prefix(prefix.size());
        stripped = true;
      }
    }
  }
  return name;
}

std::string shape_text(const at::Tensor& tensor) {
  return fmt::format("[{}]", fmt::join(tensor.sizes(), ", "));
}

/// Batch norm's count of its batches: nothing here reads it, and other frameworks have none.
bool may_be_missing(std::string_view name) { return name.ends_with("num_batches_tracked"); }

using TensorsByName = std::unordered_map<std::string_view, at::Tensor>;

TensorsByName index_by_stripped_name(const NamedTensors& tensors, std::string_view origin) {
  TensorsByName by_name;
  for (const auto& [name, tensor] : tensors) {
    if (!by_name.emplace(strip_prefixes(name), tensor).second) {
      throw CheckpointError(fmt::format("{} holds '{}' twice once 'mod.' and 'module.' are stripped", origin,
                                        strip_prefixes(name)));
    }
  }
  return by_name;
}

/// The first difference between what a module has and what a file gives, as the user should read it.
void check_same_names_and_shapes(const NamedTensors& state, const TensorsByName& given,
                                 const NamedTensors& in_order, std::string_view origin) {
  for (const auto& [name, tensor] : state) {
    const auto found = given.find(name);
    if (found == given.end() && may_be_missing(name)) continue;
    if (found == given.end()) {
      throw CheckpointError(
          fmt::format("{} belongs to another model: this one has '{}' {}, the file has no such tensor",
                      origin, name, shape_text(tensor)));
    }
    if (found->second.sizes() != tensor.sizes()) {
      throw CheckpointError(
          fmt::format("{} belongs to another model: '{}' is {} there and {} here; check the model's options",
                      origin, name, shape_text(found->second), shape_text(tensor)));
    }
  }
  for (const auto& [name, tensor] : in_order) {
    if (!state.contains(strip_prefixes(name))) {
      throw CheckpointError(
          fmt::format("{} belongs to another model: it holds '{}' {}, which this one does not have", origin,
                      name, shape_text(tensor)));
    }
  }
}

/// A network with one NaN answers NaN to everything, with one infinity mostly so. Looks at the values as the
/// module would hold them: what is finite in double precision may not be so in single.
void require_finite(const NamedTensors& state, const TensorsByName& given, std::string_view origin) {
  for (const auto& [name, target] : state) {
    const auto found = given.find(name);
    if (found == given.end() || !target.is_floating_point()) continue;
    const at::Tensor finite = at::isfinite(found->second.to(target.scalar_type()));
    if (finite.all().item<bool>()) continue;
    throw CheckpointError(
        fmt::format("{}: {} of the {} values of tensor '{}' are NaN or infinite: these weights are "
                    "lost; take an earlier snapshot or another file",
                    origin, finite.numel() - finite.sum().item<std::int64_t>(), finite.numel(), name));
  }
}

std::vector<std::string> split_classes(std::string_view text) {
  std::vector<std::string> classes;
  while (true) {
    const std::size_t comma = text.find(',');
    classes.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return classes;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

NamedTensors named_state(const torch::nn::Module& module) {
  NamedTensors state;
  for (const auto& item : module.named_parameters()) state.set(item.key(), item.value());
  for (const auto& item : module.named_buffers()) state.set(item.key(), item.value());
  return state;
}

void load_into(torch::nn::Module& module, const NamedTensors& tensors, std::string_view origin) {
  const NamedTensors state = named_state(module);
  const TensorsByName given = index_by_stripped_name(tensors, origin);
  check_same_names_and_shapes(state, given, tensors, origin);
  require_finite(state, given, origin);
  const c10::NoGradGuard no_grad;
  for (const auto& [name, tensor] : state) {
    if (const auto found = given.find(name); found != given.end()) at::Tensor(tensor).copy_(found->second);
  }
}

void check_classes(const SafeTensors& file, std::span<const std::string> classes, std::string_view origin) {
  const auto found = file.metadata.find(std::string(kClassesKey));
  if (found == file.metadata.end()) return;
  const std::vector<std::string> stored = split_classes(found->second);
  if (std::ranges::equal(stored, classes)) return;
  throw CheckpointError(
      fmt::format("{} was trained on the classes {}, but {} are expected in this order; give them in the "
                  "file's order with --classes {}",
                  origin, fmt::join(stored, ","), fmt::join(classes, ","), fmt::join(stored, ",")));
}

void save_module(const std::filesystem::path& path, const torch::nn::Module& module,
                 std::map<std::string, std::string> metadata) {
  write_safetensors(path, {.tensors = named_state(module), .metadata = std::move(metadata)});
}

std::map<std::string, std::string> load_module(const std::filesystem::path& path, torch::nn::Module& module) {
  SafeTensors file = read_safetensors(path);
  load_into(module, file.tensors, path.string());
  return std::move(file.metadata);
}

}  // namespace bunchtrain::weights
