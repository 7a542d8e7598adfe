// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/file_contents.hpp"
#include "element_type.hpp"
#include "opened_file.hpp"

namespace bunchtrain::data {
namespace {

constexpr std::size_t kBlocks = 8;
constexpr std::size_t kMostRows = 4096;
constexpr std::size_t kMostBytes = std::size_t{4} << 20;
constexpr std::size_t kMostDifferent = 16;

/// Sums up the values of one column of numbers.
class Sampler {
 public:
  Sampler(std::string name, const ColumnLayout& layout) : layout_(layout) {
    sample_.member = std::move(name);
    sample_.type = to_string(layout.type);
    sample_.minimum = std::numeric_limits<double>::infinity();
    sample_.maximum = -sample_.minimum;
  }

  void add(const std::byte* bytes, std::size_t rows) {
    values_.resize(rows * layout_.slots);
    widen(layout_, bytes, rows, values_.data());
    for (const double value : values_) add(value);
  }

  ValueSample result() && {
    sample_.different.assign(different_.begin(), different_.end());
    if (!few_) sample_.different.clear();
    return std::move(sample_);
  }

 private:
  void add(double value) {
    ++sample_.values;
    if (std::isnan(value)) {
      ++sample_.nan;
      return;
    }
    if (std::isinf(value)) {
      ++sample_.infinite;
      return;
    }
    sample_.minimum = std::min(sample_.minimum, value);
    sample_.maximum = std::max(sample_.maximum, value);
    few_ = few_ && value == std::nearbyint(value) && std::abs(value) < 1e15;
    if (!few_) return;
    different_.insert(static_cast<std::int64_t>(value));
    few_ = different_.size() <= kMostDifferent;
  }

  ColumnLayout layout_;
  ValueSample sample_;
  std::vector<double> values_;
  std::set<std::int64_t> different_;
  bool few_ = true;
};

std::vector<Sampler> samplers_of(const DatasetLayout& layout) {
  std::vector<Sampler> samplers;
  const std::size_t elements = layout.row_bytes() / std::max<std::size_t>(layout.element_bytes, 1);
  const auto column = [&](const ElementType& type, std::size_t offset, std::size_t stride,
                          std::size_t count) {
    return ColumnLayout{.type = type,
                        .row_bytes = layout.row_bytes(),
                        .offset = offset,
                        .slot_bytes = stride,
                        .slots = count};
  };
  if (layout.type) samplers.emplace_back("", column(*layout.type, 0, layout.element_bytes, elements));
  for (const CompoundMember& member : layout.members) {
    if (!member.type) continue;
    std::size_t values = 1;
    for (const std::size_t extent : member.shape) values *= extent;
    if (values == 1)
      samplers.emplace_back(member.name, column(*member.type, member.offset, layout.element_bytes, elements));
    else if (elements == 1)
      samplers.emplace_back(member.name, column(*member.type, member.offset, member.type->bytes, values));
  }
  return samplers;
}

std::vector<ValueSample> sample(const StoredDataset& dataset) {
  const DatasetLayout& layout = dataset.layout();
  std::vector<Sampler> samplers = samplers_of(layout);
  const std::size_t rows = layout.rows(), row_bytes = std::max<std::size_t>(layout.row_bytes(), 1);
  const std::size_t wanted = std::min({rows, kMostRows, std::max<std::size_t>(kMostBytes / row_bytes, 1)});
  const std::size_t blocks = std::min(kBlocks, wanted);
  for (std::size_t block = 0; block < blocks && !samplers.empty(); ++block) {
    const std::size_t count = std::max<std::size_t>(wanted / blocks, 1);
    const std::size_t first = blocks == 1 ? 0 : block * (rows - count) / (blocks - 1);
    dataset.read(first, count, [&](std::size_t, std::size_t read, const std::byte* bytes) {
      for (Sampler& sampler : samplers) sampler.add(bytes, read);
    });
  }
  std::vector<ValueSample> samples;
  for (Sampler& sampler : samplers) samples.push_back(std::move(sampler).result());
  return samples;
}

}  // namespace

std::vector<DatasetSample> sample_values(const std::string& path,
                                         const std::vector<DatasetContents>& contents, bool allow_plugins) {
  hdf5::allow_plugins(allow_plugins);
  const OpenedFile file(path);
  std::vector<DatasetSample> samples;
  for (const DatasetContents& dataset : contents) {
    DatasetSample& added = samples.emplace_back();
    if (!dataset.unreadable.empty()) {
      added.problem = dataset.unreadable;
      continue;
    }
    try {
      if (!dataset.shape.shape.empty() && dataset.shape.shape.front() > 0)
        added.columns = sample(file.open(dataset.shape.name, false));
    } catch (const DataError& error) {
      added.problem = error.message();
    }
  }
  return samples;
}

void add_seen_values(const std::vector<DatasetSample>& samples, std::vector<DatasetContents>& contents) {
  for (std::size_t i = 0; i < contents.size() && i < samples.size(); ++i) {
    features::DatasetShape& shape = contents[i].shape;
    for (const ValueSample& column : samples[i].columns) {
      if (column.member.empty()) shape.seen = column.different;
      for (auto& member : shape.members)
        if (member.name == column.member && member.values == 1) member.seen = column.different;
    }
  }
}

}  // namespace bunchtrain::data
