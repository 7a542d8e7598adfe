// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/infer/model_card.hpp"

#include <limits>
#include <nlohmann/json.hpp>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/weights/bundle_content.hpp"
#include "jets/compiled_card.hpp"
#include "raw_rows.hpp"

namespace bunchtrain::infer {
inline namespace v0_1 {
namespace {

using Json = nlohmann::ordered_json;

std::string print(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

bool is_of_jets(const weights::BundleContent& content) {
  return !content.card.empty() && features::kind_of_text(content.card) == features::CardKind::jets;
}

/// The raw columns that features are computed from.
Json inputs_of(const features::Card& card, const features::RawRanges& ranges) {
  const features::detail::CompiledCard compiled(detail::inputs_only(card));
  Json inputs = Json::array();
  for (const InputColumn& column : detail::describe_columns(card, compiled.required, ranges)) {
    inputs.push_back(
        {{"name", column.name}, {"unit", column.unit}, {"per", column.of_particles ? "particle" : "jet"}});
    if (column.range) inputs.back()["range"] = Json::array({column.range->minimum, column.range->maximum});
  }
  return inputs;
}

/// (x - median) * norm_factor, clipped.
Json variable(const features::InputSpec& spec) {
  constexpr double kUnbounded = std::numeric_limits<float>::max();
  return {{"median", spec.subtract},
          {"norm_factor", spec.multiply},
          {"replace_inf_value", 0},
          {"lower_bound", spec.minimum.value_or(-kUnbounded)},
          {"upper_bound", spec.maximum.value_or(kUnbounded)},
          {"pad", 0}};
}

Json tensor(const features::Card& card, const std::vector<features::InputSpec>& specs) {
  Json names = Json::array(), variables = Json::object();
  for (const features::InputSpec& spec : specs) {
    names.push_back(spec.expression);
    variables[spec.expression] = variable(spec);
  }
  return {{"var_length", card.length}, {"var_names", names}, {"var_infos", variables}};
}

}  // namespace

std::string model_card(const std::filesystem::path& bundle, const ModelCardOptions& options) {
  const weights::BundleContent content = weights::read_bundle_content(bundle);
  const Json model = Json::parse(content.model, nullptr, /*allow_exceptions=*/false);
  Json card{{"format", "bunchtrain-model-card"},
            {"version", 1},
            {"bundle", content.hash},
            {"task", is_of_jets(content) ? "classification of jets" : "not stated"},
            {"model", model.is_object() ? model : Json(content.model)},
            {"classes", content.classes},
            {"licence", options.licence.empty() ? "not stated" : options.licence},
            {"training", content.metadata}};
  card["training"].erase(features::kRangesKey);  // said of each input, as numbers
  if (is_of_jets(content)) {
    const features::RawRanges ranges = detail::read_ranges(content.metadata, bundle.string());
    card["inputs"] = inputs_of(detail::read_jet_card(content.card, bundle.string()), ranges);
    if (ranges.jets > 0) card["ranges_are_of_jets"] = ranges.jets;
  }
  if (!options.metrics.empty()) {
    Json& metrics = card["metrics"] = Json::object();
    for (const CardMetric& metric : options.metrics) metrics[metric.name] = metric.value;
    card["evaluated_on"] = options.evaluated_on;
  }
  if (options.onnx)
    card["onnx"] = {{"file", "model.onnx"},
                    {"opset", options.onnx->opset},
                    {"largest_difference_from_network", options.onnx->difference}};
  return print(card);
}

std::string gnn_config_json(const std::filesystem::path& bundle) {
  const weights::BundleContent content = weights::read_bundle_content(bundle);
  if (!is_of_jets(content)) return {};
  const features::Card card = detail::read_jet_card(content.card, bundle.string());
  Json sequences = Json::array();
  for (const auto& [name, specs] : card.inputs) {
    Json variables = Json::array();
    for (const features::InputSpec& spec : specs)
      variables.push_back(
          {{"name", spec.expression}, {"offset", 0.0 - spec.subtract}, {"scale", spec.multiply}});
    sequences.push_back({{"name", name}, {"variables", variables}});
  }
  return Json{{"inputs", Json::array()},
              {"input_sequences", sequences},
              {"output_names", content.classes},
              {"onnx_model_version", "v1"}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string preprocess_json(const std::filesystem::path& bundle) {
  const weights::BundleContent content = weights::read_bundle_content(bundle);
  if (!is_of_jets(content)) return {};
  const features::Card card = detail::read_jet_card(content.card, bundle.string());
  Json json{{"input_names", Json::array()}, {"output_names", content.classes}};
  for (const auto& [name, specs] : card.inputs) {
    json["input_names"].push_back(name);
    json[name] = tensor(card, specs);
  }
  return print(json);
}

}  // namespace v0_1
}  // namespace bunchtrain::infer
