// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/weights/module_weights.hpp"

#include <ATen/ops/isfinite.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fnmatch.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <unordered_map>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/nearest.hpp"
#include "bunchtrain/core/wording.hpp"

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

std::string shape_text(at::IntArrayRef shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

/// Batch norm's count of its batches: nothing here reads it, and other frameworks have none.
bool may_be_missing(std::string_view name) { return name.ends_with("num_batches_tracked"); }

/// A file's tensor under the name that the module would give it.
struct GivenTensor {
  std::string name;
  std::string in_file;
  at::Tensor tensor;
};
using TensorsByName = std::unordered_map<std::string_view, at::Tensor>;

bool matches(const Rename& rename, std::string_view name) {
  return name.starts_with(rename.from) &&
         (name.size() == rename.from.size() || name[rename.from.size()] == '.' || rename.from.ends_with('.'));
}

[[noreturn]] void refuse_rename(const Rename& rename, const std::vector<GivenTensor>& given,
                                std::string_view origin) {
  std::vector<std::string> names;
  for (const auto& entry : given) names.push_back(entry.name);
  const std::string meant = nearest(rename.from, names);
  constexpr std::size_t kMost = 8;
  if (names.size() > kMost) names.resize(kMost);
  throw ConfigError(
      "rename", fmt::format("{}={}", rename.from, rename.to),
      fmt::format("a name, or the first parts of one, in {}: {}, ...{}", origin, fmt::join(names, ", "),
                  meant.empty() ? "" : fmt::format("; is '{}' meant?", meant)));
}

std::vector<GivenTensor> rename_all(const NamedTensors& tensors, const LoadOptions& options,
                                    std::string_view origin) {
  std::vector<GivenTensor> given;
  for (const auto& [name, tensor] : tensors)
    given.push_back({std::string(strip_prefixes(name)), name, tensor});
  for (const Rename& rename : options.renames) {
    bool found = false;
    for (GivenTensor& entry : given) {
      if (!matches(rename, entry.name)) continue;
      entry.name.replace(0, rename.from.size(), rename.to);
      found = true;
    }
    if (!found) refuse_rename(rename, given, origin);
  }
  return given;
}

TensorsByName index_by_name(const std::vector<GivenTensor>& given, std::string_view origin) {
  TensorsByName by_name;
  for (const auto& entry : given) {
    if (by_name.emplace(entry.name, entry.tensor).second) continue;
    throw CheckpointError(
        fmt::format("{} holds '{}' twice once 'mod.' and 'module.' are stripped and names are changed",
                    origin, entry.name));
  }
  return by_name;
}

/// What of the file fits the module.
LoadReport compare(const NamedTensors& state, const std::vector<GivenTensor>& given,
                   const TensorsByName& by_name) {
  LoadReport report;
  for (const auto& [name, tensor] : state) {
    const auto found = by_name.find(name);
    if (found == by_name.end()) {
      if (!may_be_missing(name)) report.missing.push_back(name);
    } else if (found->second.sizes() != tensor.sizes()) {
      report.other_shape.push_back({name, found->second.sizes().vec(), tensor.sizes().vec()});
    } else {
      report.taken.push_back(name);
    }
  }
  for (const auto& entry : given)
    if (!state.contains(entry.name)) report.left_over.push_back(entry.in_file);
  return report;
}

/// The first difference between what a module has and what a file gives, as the user should read it.
void require_same(const NamedTensors& state, const std::vector<GivenTensor>& given, const LoadReport& report,
                  std::string_view origin) {
  if (!report.missing.empty())
    throw CheckpointError(
        fmt::format("{} belongs to another model: this one has '{}' {}, the file has no such tensor", origin,
                    report.missing.front(), shape_text(state[report.missing.front()].sizes())));
  if (!report.other_shape.empty()) {
    const auto& first = report.other_shape.front();
    throw CheckpointError(
        fmt::format("{} belongs to another model: '{}' is {} there and {} here; check the model's options",
                    origin, first.name, shape_text(first.file), shape_text(first.module)));
  }
  if (!report.left_over.empty()) {
    const auto first = std::ranges::find(given, report.left_over.front(), &GivenTensor::in_file);
    throw CheckpointError(
        fmt::format("{} belongs to another model: it holds '{}' {}, which this one does not have", origin,
                    first->in_file, shape_text(first->tensor.sizes())));
  }
}

/// A network with one NaN answers NaN to everything, with one infinity mostly so. Looks at the values as the
/// module would hold them: what is finite in double precision may not be so in single.
void require_finite(const NamedTensors& state, const LoadReport& report, const TensorsByName& given,
                    std::string_view origin) {
  for (const std::string& name : report.taken) {
    const at::Tensor& target = state[name];
    if (!target.is_floating_point()) continue;
    const at::Tensor finite = at::isfinite(given.at(name).to(target.scalar_type()));
    if (finite.all().item<bool>()) continue;
    throw CheckpointError(
        fmt::format("{}: {} of the {} values of tensor '{}' are NaN or infinite: these weights are "
                    "lost; take an earlier snapshot or another file",
                    origin, finite.numel() - finite.sum().item<std::int64_t>(), finite.numel(), name));
  }
}

}  // namespace

NamedTensors named_state(const torch::nn::Module& module) {
  NamedTensors state;
  for (const auto& item : module.named_parameters()) state.set(item.key(), item.value());
  for (const auto& item : module.named_buffers()) state.set(item.key(), item.value());
  return state;
}

Rename parse_rename(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == 0 || equals == std::string_view::npos || equals + 1 == text.size() ||
      text.find('=', equals + 1) != std::string_view::npos)
    throw ConfigError("rename", text, "OLD=NEW: a name in the file, or its first parts, and this network's");
  return {std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

std::string LoadReport::describe() const {
  std::string text = fmt::format("taken: {} of {} tensors", taken.size(),
                                 taken.size() + other_shape.size() + missing.size());
  std::vector<std::string> shapes;
  for (const auto& entry : other_shape)
    shapes.push_back(
        fmt::format("{} ({} there, {} here)", entry.name, shape_text(entry.file), shape_text(entry.module)));
  if (!shapes.empty())
    text += fmt::format("; of another shape, and left as they were: {}", fmt::join(shapes, ", "));
  if (!missing.empty())
    text += fmt::format("; not in the file, and left as they were: {}", fmt::join(missing, ", "));
  if (!left_over.empty()) text += fmt::format("; not in this network: {}", fmt::join(left_over, ", "));
  return text;
}

LoadReport load_into(torch::nn::Module& module, const NamedTensors& tensors, std::string_view origin,
                     const LoadOptions& options) {
  const NamedTensors state = named_state(module);
  const std::vector<GivenTensor> given = rename_all(tensors, options, origin);
  const TensorsByName by_name = index_by_name(given, origin);
  LoadReport report = compare(state, given, by_name);
  if (options.mode == LoadMode::strict) require_same(state, given, report, origin);
  if (report.taken.empty() && !state.empty())
    throw CheckpointError(
        fmt::format("{} belongs to another model: none of its {} tensors fits one of the {} here", origin,
                    given.size(), state.size()));
  require_finite(state, report, by_name, origin);
  const c10::NoGradGuard no_grad;
  for (const std::string& name : report.taken) at::Tensor(state[name]).copy_(by_name.at(name));
  return report;
}

std::vector<std::string> freeze(torch::nn::Module& module, std::span<const std::string> patterns) {
  const auto parameters = module.named_parameters();
  const std::vector<std::string> names = parameters.keys();
  const auto matches = [](const std::string& pattern, const std::string& name) {
    return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
  };
  for (const std::string& pattern : patterns) {
    if (std::ranges::any_of(names, [&](const auto& name) { return matches(pattern, name); })) continue;
    throw ConfigError("freeze", pattern,
                      fmt::format("a pattern that matches a parameter: {}", fmt::join(names, ", ")));
  }
  std::vector<std::string> frozen;
  for (const std::string& name : names)
    if (std::ranges::any_of(patterns, [&](const auto& pattern) { return matches(pattern, name); }))
      frozen.push_back(name);
  if (!names.empty() && frozen.size() == names.size())
    throw ConfigError("freeze", fmt::format("{}", fmt::join(patterns, " ")),
                      "patterns that leave a parameter to train");
  for (const std::string& name : frozen) at::Tensor(parameters[name]).set_requires_grad(false);
  return frozen;
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

void check_classes(const SafeTensors& file, std::span<const std::string> classes, std::string_view origin) {
  const auto found = file.metadata.find(std::string(kClassesKey));
  if (found == file.metadata.end()) return;
  const std::vector<std::string> stored = split_classes(found->second);
  if (std::ranges::equal(stored, classes)) return;
  throw CheckpointError(
      fmt::format("{} was trained on the classes {}, but {} are expected in this order; give them in the "
                  "file's order with {}",
                  origin, fmt::join(stored, ","), fmt::join(classes, ","),
                  setting("classes", fmt::format("{}", fmt::join(stored, ",")))));
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
