// SPDX-License-Identifier: Apache-2.0
#include "training_showers.hpp"

#include <ATen/ops/cat.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/data/detail/overlap.hpp"

namespace bunchtrain::shower_simulation {
namespace {

double share_of_validation(const train::Session& session, const ShowerSources& sources, double otherwise) {
  session.use("valid-fraction");
  const double share = sources.files.valid_fraction;
  if (share < 0 || share >= 1)
    throw ConfigError("valid-fraction", fmt::format("{}", share), "a number from 0 to below 1");
  return share > 0 ? share : otherwise;
}

data::ShowerDataset open(const train::Session& session, const ShowerSources& sources,
                         const std::vector<std::string>& files) {
  for (const char* name : {"card", "hdf5-plugins", "hash-data", "io"}) session.use(name);
  data::ShowerDataset showers({.files = files,
                               .card = sources.files.card,
                               .physical = sources.physical,
                               .allow_plugins = sources.files.hdf5_plugins,
                               .threads = session.threads().loader,
                               .hash_data = sources.files.hash_data,
                               .io = sources.files.io,
                               .logger = session.logger()});
  sources.require(showers);
  return showers;
}

data::DatasetSplit split_of_files(const train::Session& session, const ShowerSources& sources) {
  session.use("valid");
  const data::ShowerDataset showers = open(session, sources, sources.files.data);
  const auto& valid = sources.files.valid;
  if (valid.empty())
    return showers.split(
        {.valid_fraction = share_of_validation(session, sources, showers.card().valid_fraction),
         .seed = session.seed()});
  data::DatasetSplit split{showers.all(), open(session, sources, valid).all()};
  data::require_disjoint(*split.train, *split.valid);
  return split;
}

data::DatasetSplit simulated(const train::Session& session, const ShowerSources& sources) {
  session.use("showers");
  const double share = share_of_validation(session, sources, 0.1);
  const std::int64_t count = sources.showers;
  const auto valid = static_cast<std::int64_t>(share * static_cast<double>(count));
  if (valid < 1 || valid >= count)
    throw ConfigError(
        "showers", fmt::format("{}", count),
        fmt::format("at least {}: a share of {} validates ({}), the rest trains",
                    std::ceil(1 / std::min(share, 1 - share)), share, setting("valid_fraction")));
  simulate::GflashDatasetOptions train = sources.simulated;
  train.showers.seed = session.seed();
  train.showers.count = count - valid;
  simulate::GflashDatasetOptions held_out = train;
  held_out.first = count - valid;
  held_out.showers.count = valid;
  return {simulate::make_gflash_dataset(train), simulate::make_gflash_dataset(held_out)};
}

}  // namespace

data::DatasetSplit open_training_showers(const train::Session& session, const ShowerSources& sources) {
  session.use("data");
  data::DatasetSplit split;
  session.control().together([&] {
    split = sources.files.data.empty() ? simulated(session, sources) : split_of_files(session, sources);
  });
  return split;
}

NamedTensors some_showers(const data::Dataset& dataset, std::int64_t showers,
                          std::initializer_list<std::string_view> names) {
  const auto ranges = dataset.ranges();
  const std::int64_t per_range =
      std::max<std::int64_t>(dataset.size() / std::max<std::int64_t>(std::ssize(ranges), 1), 1);
  const auto wanted =
      std::clamp<std::size_t>(static_cast<std::size_t>(showers / per_range), 1, ranges.size());
  std::map<std::string, std::vector<at::Tensor>> parts;
  for (std::size_t i = 0; i < wanted; ++i) {
    const data::SampleBlock block = dataset.read(i * ranges.size() / wanted);
    for (const std::string_view name : names)
      if (const at::Tensor* tensor = block.tensors.find(name)) parts[std::string(name)].push_back(*tensor);
  }
  NamedTensors some;
  for (auto& [name, tensors] : parts) {
    const at::Tensor all = at::cat(tensors);
    some.set(name, all.narrow(0, 0, std::min(all.size(0), showers)));
  }
  return some;
}

}  // namespace bunchtrain::shower_simulation
