// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <optional>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/infer/model_card.hpp"
#include "bunchtrain/infer/onnx_export.hpp"
#include "bunchtrain/report/section.hpp"
#include "bunchtrain/weights/bundle.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {
namespace {

namespace fs = std::filesystem;

/// A bundle, or the one that a training left in its run folder.
fs::path bundle_of(const std::string& run) {
  if (run.empty()) throw ConfigError("run", "", "a run folder or a bundle");
  const fs::path path(run);
  if (weights::is_bundle(path)) return path;
  if (weights::is_bundle(path / "bundle")) return path / "bundle";
  throw ConfigError("run", run,
                    "a bundle, or a run folder that holds one: a training leaves it as bundle when it ends");
}

/// Where to write; what is not said is beside the bundle.
fs::path output_of(const config::Options& given, const fs::path& bundle, const char* name) {
  const std::string& out = given.get<std::string>("out");
  return out.empty() ? fs::canonical(bundle).parent_path() / name : fs::path(out);
}

infer::OnnxOptions graph_options(const config::Options& given) {
  return {.opset = given.get<std::int64_t>("opset"),
          .profile = given.get<std::string>("profile") == "sofie" ? infer::OnnxProfile::sofie
                                                                  : infer::OnnxProfile::ort,
          .with_features = given.get<bool>("with-features")};
}

void print_onnx(const infer::OnnxModel& model) {
  fmt::print(
      "onnx     opset {}, {} nodes, {} bytes; run by our own loops: outputs differ by {:.1g} at most\n",
      model.opset, model.nodes, format_integer(std::ssize(model.bytes)), model.difference);
  if (!model.weights.empty())
    fmt::print("weights  {} bytes in a second file\n", format_integer(std::ssize(model.weights)));
}

void export_file(const config::Options& given, const fs::path& bundle) {
  const fs::path path = output_of(given, bundle, "model.onnx");
  require_writable_output(
      {.path = path,
       .option = "out",
       .inputs = {bundle},
       .force = given.get<bool>("force"),
       .is_own = [](const fs::path& file) { return begins_with_mark(file, infer::kOnnxMark); }});
  print_onnx(infer::export_onnx(bundle, path, graph_options(given)));
  fmt::print("file     {}\n", path.string());
}

/// The graph, or why there is none.
std::optional<infer::OnnxModel> onnx_of(const fs::path& bundle, const infer::OnnxOptions& options) {
  try {
    return infer::make_onnx(bundle, options);
  } catch (const CheckpointError& error) {
    fmt::print("onnx     left out: {}\n", error.message());
    return std::nullopt;
  }
}

/// The numbers of an evaluation, with their errors.
std::vector<infer::CardMetric> metrics_of(const std::string& evaluation) {
  std::vector<infer::CardMetric> metrics;
  if (evaluation.empty()) return metrics;
  for (const bunchtrain::report::Section& section : bunchtrain::report::read_sections(evaluation))
    for (const bunchtrain::report::SectionNumber& number : section.numbers)
      metrics.push_back({number.label, number.value});
  if (metrics.empty())
    throw ConfigError("evaluation", evaluation,
                      "the results of an evaluation: scores.json beside its scores");
  return metrics;
}

void export_bundle(const config::Options& given, const fs::path& bundle) {
  const fs::path path = output_of(given, bundle, "exported");
  if (fs::exists(path) && fs::equivalent(path, bundle))
    throw ConfigError("out", path.string(), "another folder than the bundle itself");
  weights::Bundle content = weights::read_bundle(bundle);
  const auto onnx = onnx_of(bundle, graph_options(given));
  if (onnx) {
    print_onnx(*onnx);
    content.extras["model.onnx"] = onnx->bytes;
    if (!onnx->weights.empty()) content.extras["model.onnx.data"] = onnx->weights;
  }
  content.extras["model_card.json"] =
      infer::model_card(bundle, {.licence = given.get<std::string>("licence"),
                                 .onnx = onnx ? &*onnx : nullptr,
                                 .metrics = metrics_of(given.get<std::string>("evaluation")),
                                 .evaluated_on = given.get<std::string>("evaluation")});
  if (std::string preprocess = infer::preprocess_json(bundle); !preprocess.empty())
    content.extras["preprocess.json"] = std::move(preprocess);
  const std::string hash = weights::write_bundle(path, content);
  fmt::print("bundle   {}\nhash     {}\n", path.string(), hash);
}

}  // namespace

int export_network(int argc, char** argv) {
  config::Options options(
      "bunchtrain export",
      "Writes a network for other programs: a bundle with an ONNX file, which is proved to "
      "score alike, and cards of the model; or the ONNX file alone.");
  options.declare(
      {{"run", std::string{}, "run folder or bundle", "RUN", {}, true},
       {"format", std::string{"bundle"}, "what to write: bundle or onnx"},
       {"out", std::string{}, "where to; empty = exported or model.onnx beside the bundle", "PATH"},
       {"opset", std::int64_t{17}, "version of ONNX's operators: 17, or 13 for older hosts"},
       {"profile",
        std::string{"ort"},
        "operators: all that ONNX Runtime has, or those of ROOT's SOFIE alone",
        {},
        {"ort", "sofie"}},
       {"with-features", false, "the graph begins with raw columns and computes the card's features"},
       {"licence", std::string{}, "of the weights, for the model's card", "TEXT"},
       {"evaluation", std::string{}, "results of bunchtrain evaluate, for the card: its numbers with errors",
        "FILE"},
       {"force", false, "replace a file that something else wrote"}});
  return run_subcommand(std::move(options), argc, argv, [](const config::Options& given) {
    const auto& format = given.get<std::string>("format");
    if (format != "onnx" && format != "bundle") throw ConfigError("format", format, "bundle or onnx");
    const fs::path bundle = bundle_of(given.get<std::string>("run"));
    fmt::print("network  {}\n", bundle.string());
    format == "onnx" ? export_file(given, bundle) : export_bundle(given, bundle);
  });
}

}  // namespace bunchtrain::tool
