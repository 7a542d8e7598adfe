// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/file_reading.hpp"

#include <fmt/format.h>

#include <array>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/file_contents.hpp"
#include "io/engine_choice.hpp"
#include "opened_file.hpp"

namespace bunchtrain::data {

FileReading describe_reading(const std::string& path, IoEngine engine, bool allow_plugins) {
  hdf5::allow_plugins(allow_plugins);
  const std::array files = {std::filesystem::path(path)};
  const io::EngineChoice choice = io::choose_engine(engine, files);
  const OpenedFile file(path, choice.engine);
  FileReading reading;
  std::vector<std::string> ways;
  for (const auto& contents : list_contents(path)) {
    DatasetReading& one = reading.datasets.emplace_back(contents.shape.name, "", false, contents.unreadable);
    if (!one.problem.empty()) continue;
    try {
      const StoredDataset dataset = file.open(one.dataset, true);
      one.way = dataset.path_text();
      one.plain = dataset.why_not_plain().empty();
      ways.push_back(one.way);
    } catch (const DataError& error) {
      one.problem = error.message();
    }
  }
  reading.choice = io::describe(choice, ways);
  for (const io::Engine* other : io::all_engines())
    if (const std::string why = other->unavailable(); !why.empty())
      reading.unavailable.push_back(fmt::format("{}: {}", other->name(), why));
  return reading;
}

}  // namespace bunchtrain::data
