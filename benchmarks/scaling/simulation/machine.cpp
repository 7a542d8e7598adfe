// SPDX-License-Identifier: Apache-2.0
#include "machine.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <functional>
#include <string_view>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/parallel/pipeline_schedule.hpp"

namespace scaling {

namespace bt = bunchtrain;

namespace {

/// Reads the tables of one file; every key is asked for once, what is left over is an error.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& file) : file_(file.string()) {
    try {
      root_ = toml::parse(bt::read_text_file(file), file_);
    } catch (const toml::parse_error& error) {
      throw bt::ConfigError("machine", place(error.source()),
                            fmt::format("TOML that reads: {}", error.description()));
    }
  }

  Machine read() const {
    Machine machine;
    const std::filesystem::path folder = std::filesystem::path(file_).parent_path();
    fields(root_, "",
           {{"name", [&](auto& node) { machine.name = text(node); }},
            {"sources", [&](auto& node) { machine.sources = texts(node); }},
            {"samples", [&](auto& node) { machine.samples = integer(node); }},
            {"batch", [&](auto& node) { machine.batch = integer(node); }},
            {"seconds_per_step", [&](auto& node) { machine.seconds_per_step = number(node); }},
            {"seconds_per_sample", [&](auto& node) { machine.seconds_per_sample = number(node); }},
            {"calibration", [&](auto& node) { machine.calibration = epoch(node); }},
            {"collectives", [&](auto& node) { machine.collectives = collectives(node); }},
            {"inside", [&](auto& node) { machine.inside = link(node); }},
            {"between", [&](auto& node) { machine.between = link(node); }},
            {"ranks_per_node", [&](auto& node) { machine.ranks_per_node = count(node); }},
            {"least_nodes", [&](auto& node) { machine.least_nodes = count(node); }},
            {"stragglers", [&](auto& node) { machine.stragglers = stragglers(node); }},
            {"loader", [&](auto& node) { machine.loader = loader(node); }},
            {"stages", [&](auto& node) { machine.stages = stages(node, folder); }},
            {"measured", [&](auto& node) {
               for (const toml::node& each : array(node)) machine.measured.push_back(epoch(each));
             }}});
    return machine;
  }

 private:
  struct Field {
    std::string_view name;
    std::function<void(const toml::node&)> read;
  };

  std::string place(const toml::source_region& region) const {
    return fmt::format("{}, line {}", file_, region.begin.line);
  }

  [[noreturn]] void refuse(const toml::node& node, std::string_view allowed) const {
    throw bt::ConfigError("machine", place(node.source()), allowed);
  }

  void fields(const toml::node& node, std::string_view what, const std::vector<Field>& known) const {
    const toml::table* const table = node.as_table();
    if (table == nullptr) refuse(node, fmt::format("a table [{}]", what));
    for (const auto& [key, value] : *table) {
      const auto field = std::ranges::find(known, key.str(), &Field::name);
      if (field != known.end()) {
        field->read(value);
        continue;
      }
      std::vector<std::string> names;
      for (const Field& each : known) names.emplace_back(each.name);
      refuse(value, fmt::format("no key \"{}\"; known here: {}", key.str(), fmt::join(names, ", ")));
    }
  }

  double number(const toml::node& node) const {
    const auto value = node.value<double>();
    if (!value) refuse(node, "a number");
    return *value;
  }
  std::int64_t integer(const toml::node& node) const {
    if (!node.is_integer()) refuse(node, "a whole number");
    return *node.value<std::int64_t>();
  }
  int count(const toml::node& node) const {
    const std::int64_t value = integer(node);
    if (value < 0 || value > 1 << 20) refuse(node, "a number from 0 to a million");
    return static_cast<int>(value);
  }
  std::string text(const toml::node& node) const {
    const auto value = node.value<std::string>();
    if (!value) refuse(node, "a text");
    return *value;
  }
  const toml::array& array(const toml::node& node) const {
    if (node.as_array() == nullptr) refuse(node, "a list");
    return *node.as_array();
  }
  std::vector<std::string> texts(const toml::node& node) const {
    std::vector<std::string> values;
    for (const toml::node& each : array(node)) values.push_back(text(each));
    return values;
  }

  KnownEpoch epoch(const toml::node& node) const {
    KnownEpoch result;
    fields(node, "calibration",
           {{"ranks", [&](auto& value) { result.ranks = count(value); }},
            {"seconds", [&](auto& value) { result.seconds = number(value); }}});
    return result;
  }

  Link link(const toml::node& node) const {
    Link result;
    fields(node, "inside",
           {{"latency_seconds", [&](auto& value) { result.latency_seconds = number(value); }},
            {"bytes_per_second", [&](auto& value) { result.bytes_per_second = number(value); }}});
    return result;
  }

  std::vector<Collective> collectives(const toml::node& node) const {
    std::vector<Collective> result;
    for (const toml::node& each : array(node)) {
      Collective& collective = result.emplace_back();
      fields(each, "collectives",
             {{"bytes", [&](auto& value) { collective.bytes = number(value); }},
              {"issued", [&](auto& value) { collective.issued = number(value); }},
              {"needed", [&](auto& value) { collective.needed = number(value); }}});
    }
    return result;
  }

  Stragglers stragglers(const toml::node& node) const {
    Stragglers result;
    fields(node, "stragglers",
           {{"spread", [&](auto& value) { result.spread = number(value); }},
            {"slow_ranks", [&](auto& value) { result.slow_ranks = count(value); }},
            {"slow_factor", [&](auto& value) { result.slow_factor = number(value); }}});
    return result;
  }

  Loader loader(const toml::node& node) const {
    Loader result;
    fields(node, "loader",
           {{"prefetch", [&](auto& value) { result.prefetch = count(value); }},
            {"seconds_per_sample", [&](auto& value) { result.seconds_per_sample = number(value); }},
            {"samples_per_second", [&](auto& value) { result.samples_per_second = number(value); }}});
    return result;
  }

  /// A profile lies beside the file that names it.
  Stages stages(const toml::node& node, const std::filesystem::path& folder) const {
    Stages result;
    fields(node, "stages",
           {{"pipeline", [&](auto& value) { result.pipeline = count(value); }},
            {"schedule", [&](auto& value) { result.schedule = text(value); }},
            {"microbatches", [&](auto& value) { result.microbatches = count(value); }},
            {"profile", [&](auto& value) { result.profile = folder / text(value); }}});
    return result;
  }

  std::string file_;
  toml::table root_;
};

void require(bool holds, std::string_view field, double value, std::string_view allowed) {
  if (!holds) throw bt::ConfigError(std::string(field), fmt::format("{:g}", value), std::string(allowed));
}

void validate_link(const Link& link, std::string_view name) {
  require(link.latency_seconds >= 0, fmt::format("{}.latency_seconds", name), link.latency_seconds,
          "0 or more");
  require(link.bytes_per_second > 0, fmt::format("{}.bytes_per_second", name), link.bytes_per_second,
          "more than 0");
}

}  // namespace

void Machine::validate() const {
  require(samples >= 1, "samples", static_cast<double>(samples), "at least 1 per epoch");
  require(batch >= 1, "batch", static_cast<double>(batch), "at least 1 per replica");
  require(seconds_per_step >= 0, "seconds_per_step", seconds_per_step, "0 or more");
  require(seconds_per_sample >= 0, "seconds_per_sample", seconds_per_sample, "0 or more");
  require(seconds_per_step + seconds_per_sample > 0 || calibration.ranks > 0 || stages.pipeline > 1,
          "seconds_per_step", 0,
          "the time of a step, or a calibration that it follows from, or stages with a profile");
  for (const Collective& each : collectives) {
    require(each.bytes >= 0, "collectives.bytes", each.bytes, "0 or more");
    require(each.issued >= 0 && each.issued <= each.needed, "collectives.issued", each.issued,
            "a share of the step from 0 to where the sum is needed");
    require(each.needed <= 1, "collectives.needed", each.needed, "a share of the step, 1 at most");
  }
  validate_link(inside, "inside");
  validate_link(between, "between");
  require(ranks_per_node >= 1, "ranks_per_node", ranks_per_node, "at least 1");
  require(least_nodes >= 1, "least_nodes", least_nodes, "at least 1");
  require(stragglers.spread >= 0, "stragglers.spread", stragglers.spread, "0 or more");
  require(stragglers.slow_factor >= 1, "stragglers.slow_factor", stragglers.slow_factor, "1 or more");
  require(loader.seconds_per_sample >= 0, "loader.seconds_per_sample", loader.seconds_per_sample,
          "0 or more");
  require(loader.samples_per_second > 0, "loader.samples_per_second", loader.samples_per_second,
          "more than 0");
  require(stages.pipeline >= 1, "stages.pipeline", stages.pipeline, "at least 1");
  require(stages.pipeline == 1 || calibration.ranks == 0, "calibration.ranks", calibration.ranks,
          "0 with stages: their time comes from the profile");
  if (stages.pipeline > 1) bt::parallel::parse_pipeline_kind(stages.schedule);
}

Machine read_machine(const std::filesystem::path& file) {
  Machine machine = Reader(file).read();
  try {
    machine.validate();
  } catch (bt::Error& error) {
    error.add_context("in " + file.string());
    throw;
  }
  return machine;
}

int nodes_of(const Machine& machine, int ranks) noexcept {
  const int filled = (ranks + machine.ranks_per_node - 1) / machine.ranks_per_node;
  return std::min(ranks, std::max(filled, machine.least_nodes));
}

}  // namespace scaling
