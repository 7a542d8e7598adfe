// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/infer/onnx_export.hpp"
#include "bunchtrain/weights/bundle_content.hpp"
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

}  // namespace

int export_network(int argc, char** argv) {
  config::Options options("bunchtrain export",
                          "Writes the network of a bundle as an ONNX file, and proves that it scores alike.");
  options.declare({{"run", std::string{}, "run folder or bundle", "RUN", {}, true},
                   {"format", std::string{"onnx"}, "what to write: onnx"},
                   {"out", std::string{}, "the file to write; empty = model.onnx beside the bundle", "FILE"},
                   {"opset", std::int64_t{17}, "version of ONNX's operators: 17, or 13 for older hosts"},
                   {"force", false, "replace a file that something else wrote"}});
  return run_subcommand(std::move(options), argc, argv, [](const config::Options& given) {
    if (const auto& format = given.get<std::string>("format"); format != "onnx")
      throw ConfigError("format", format, "onnx");
    const fs::path bundle = bundle_of(given.get<std::string>("run"));
    const std::string& out = given.get<std::string>("out");
    const fs::path path = out.empty() ? fs::canonical(bundle).parent_path() / "model.onnx" : fs::path(out);
    require_writable_output(
        {.path = path,
         .option = "out",
         .inputs = {bundle},
         .force = given.get<bool>("force"),
         .is_own = [](const fs::path& file) { return begins_with_mark(file, infer::kOnnxMark); }});
    const infer::OnnxFile file =
        infer::export_onnx(bundle, path, {.opset = given.get<std::int64_t>("opset")});
    fmt::print(
        "network  {}\nfile     {} ({} nodes, {} bytes)\nchecked  run by our own loops: outputs differ by {:.1g} at most\n",
        bundle.string(), path.string(), file.nodes, format_integer(file.bytes), file.difference);
  });
}

}  // namespace bunchtrain::tool
