// SPDX-License-Identifier: Apache-2.0
#include "convolution_record.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "watching.hpp"

namespace bunchtrain::train {
namespace {

using Json = nlohmann::ordered_json;
using ops::ConvolutionWay;

constexpr double kMilliseconds = 1e3;
constexpr const char *kWay = "way", *kLibrary = "library_ms", *kDirect = "direct_ms";

const char* word_of(ConvolutionWay way) { return way == ConvolutionWay::direct ? "direct" : "library"; }

}  // namespace

ConvolutionRecord::ConvolutionRecord(mpi::Comm control, Logger logger, std::filesystem::path file,
                                     ops::ConvolutionChoices& choices)
    : control_(std::move(control)), logger_(std::move(logger)), file_(std::move(file)), choices_(choices) {}

ConvolutionRecord::~ConvolutionRecord() { choices_.measure(false); }

void ConvolutionRecord::begin() {
  std::string text;
  control_.together([&] {
    if (control_.rank() == 0 && std::filesystem::exists(file_)) text = read_text_file(file_);
  });
  text = control_.broadcast(std::move(text));
  choices_.keep(text.empty() ? std::map<std::string, ops::ConvolutionChoice>()
                             : parse_convolutions(text, file_));
  choices_.measure(true);
}

void ConvolutionRecord::finish() {
  choices_.measure(false);
  const std::string text = control_.broadcast(to_json(choices_.all()));
  const auto agreed = parse_convolutions(text, file_);
  choices_.keep(agreed);
  if (control_.rank() != 0 || agreed.empty()) return;
  std::size_t direct = 0;
  for (const auto& [name, choice] : agreed) direct += choice.way == ConvolutionWay::direct ? 1 : 0;
  logger_.info(
      fmt::format("convolutions: {} of {} computations by kernels of ours, the others by cuDNN, as was "
                  "measured in the first step ({})",
                  direct, agreed.size(), file_.filename().string()));
  Watching(logger_).try_to("write " + file_.filename().string(), [&] { write_file_atomically(file_, text); });
}

std::string to_json(const std::map<std::string, ops::ConvolutionChoice>& choices) {
  Json json = Json::object();
  for (const auto& [name, choice] : choices)
    json[name] = {{kWay, word_of(choice.way)},
                  {kLibrary, kMilliseconds * choice.library_seconds},
                  {kDirect, kMilliseconds * choice.direct_seconds}};
  return json.dump(2) + "\n";
}

std::map<std::string, ops::ConvolutionChoice> parse_convolutions(const std::string& text,
                                                                 const std::filesystem::path& file) {
  std::map<std::string, ops::ConvolutionChoice> choices;
  try {
    const auto json = Json::parse(text);
    for (const auto& [name, entry] : json.get_ref<const Json::object_t&>()) {
      const auto way = entry.at(kWay).get<std::string>();
      if (way != word_of(ConvolutionWay::direct) && way != word_of(ConvolutionWay::library))
        throw DataError(fmt::format("\"{}\" is no way", way));
      choices[name] = {
          way == word_of(ConvolutionWay::direct) ? ConvolutionWay::direct : ConvolutionWay::library,
          entry.at(kLibrary).get<double>() / kMilliseconds, entry.at(kDirect).get<double>() / kMilliseconds};
    }
  } catch (const std::exception& error) {
    throw DataError(
        fmt::format("{} does not say which way convolutions go ({}). Remove it: they are measured again, and "
                    "the run goes on, with sums rounded otherwise",
                    file.string(), error.what()));
  }
  return choices;
}

}  // namespace bunchtrain::train
