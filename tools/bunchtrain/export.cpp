// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <optional>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/infer/model_card.hpp"
#include "bunchtrain/infer/onnx_export.hpp"
#include "bunchtrain/report/section.hpp"
#include "bunchtrain/tasks/bundle_of_run.hpp"
#include "bunchtrain/weights/bundle.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {
namespace {

namespace fs = std::filesystem;

/// Removed with all that is in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "bunchtrain-export-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) throw IoError(fmt::format("cannot make a folder {}", pattern), errno);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// The bundle to export, and where results go that nothing else is said of.
class Source {
 public:
  /// A bundle, the one that a training left in its run folder, or one that is made of the best snapshot of a run that left
  /// none and lives as long as this.
  explicit Source(const std::string& run) {
    if (run.empty()) throw ConfigError("run", "", "a run folder or a bundle");
    const fs::path path(run);
    bundle_ = weights::is_bundle(path) ? path : path / "bundle";
    if (weights::is_bundle(bundle_)) {
      folder_ = fs::canonical(bundle_).parent_path();
      return;
    }
    if (!fs::is_directory(path / "checkpoints"))
      throw ConfigError(
          "run", run,
          "a bundle, or a run folder that holds one: a training leaves it as bundle when it ends");
    folder_ = path;
    bundle_ = temporary_.emplace().path() / "bundle";
    weights::write_bundle(bundle_, tasks::bundle_of_run(path));
  }

  const fs::path& bundle() const { return bundle_; }
  std::string describe() const {
    return temporary_ ? fmt::format("best snapshot of {}", folder_.string()) : bundle_.string();
  }
  /// Where to write; what is not said is beside the bundle, or in the run folder.
  fs::path output(const config::Options& given, const char* name) const {
    const std::string& out = given.get<std::string>("out");
    return out.empty() ? folder_ / name : fs::path(out);
  }

 private:
  std::optional<TemporaryFolder> temporary_;
  fs::path bundle_, folder_;
};

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

void export_file(const config::Options& given, const Source& source) {
  const fs::path& bundle = source.bundle();
  const fs::path path = source.output(given, "model.onnx");
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

void export_bundle(const config::Options& given, const Source& source) {
  const fs::path& bundle = source.bundle();
  const fs::path path = source.output(given, "exported");
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
    const Source source(given.get<std::string>("run"));
    fmt::print("network  {}\n", source.describe());
    format == "onnx" ? export_file(given, source) : export_bundle(given, source);
  });
}

}  // namespace bunchtrain::tool
