// SPDX-License-Identifier: Apache-2.0
#include "library_reader.hpp"

#include <algorithm>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "jets/card_columns.hpp"

namespace loader_benchmark {

namespace bt = bunchtrain;
using bt::hdf5::check;
using bt::hdf5::LibraryLock;

LibraryReader::LibraryReader(const std::string& path, const bt::features::FeaturePipeline& pipeline)
    : file_(bt::hdf5::open_read_only(path)), path_(path) {
  for (const auto& name : pipeline.required_columns()) {
    const bool per_particle = name.starts_with("part.");
    const std::string column = name.substr(name.find('.') + 1);
    for (const auto& card_source : pipeline.card().sources) {
      if (card_source.per_particle != per_particle) continue;
      Source& source = sources_[open(card_source.dataset)];
      const auto layout = bt::data::find_column(card_source, column, source.layout, card_source.dataset);
      if (!layout) continue;
      source.columns.push_back({column, per_particle, *layout});
      if (per_particle) slots_ = static_cast<std::int64_t>(layout->slots);
      break;
    }
  }
  rows_ = static_cast<std::int64_t>(sources_.front().layout.rows());
}

std::size_t LibraryReader::open(const std::string& name) {
  for (std::size_t i = 0; i < sources_.size(); ++i)
    if (sources_[i].layout.name == name) return i;
  const LibraryLock lock;
  bt::hdf5::Dataset dataset(check(H5Dopen2(file_.get(), name.c_str(), H5P_DEFAULT), name));
  bt::hdf5::Datatype type(check(H5Dget_type(dataset.get()), name));
  auto layout = bt::data::describe_dataset(dataset.get(), name, name);
  sources_.push_back({std::move(dataset), std::move(type), std::move(layout), {}});
  return sources_.size() - 1;
}

std::int64_t LibraryReader::rows_per_block() const {
  for (const auto& source : sources_) {
    if (std::none_of(source.columns.begin(), source.columns.end(),
                     [](const auto& c) { return c.per_particle; }) ||
        source.layout.chunk.empty())
      continue;
    const auto chunk = static_cast<std::int64_t>(source.layout.chunk[0]);
    return (63 + chunk) / chunk * chunk;
  }
  return 256;
}

void LibraryReader::read_rows(const Source& source, std::int64_t first, std::int64_t count,
                              std::byte* out) const {
  const LibraryLock lock;
  std::vector<hsize_t> start(source.layout.shape.size(), 0), extent(source.layout.shape);
  start[0] = static_cast<hsize_t>(first);
  extent[0] = static_cast<hsize_t>(count);
  const bt::hdf5::Dataspace space(check(H5Dget_space(source.dataset.get()), path_));
  check(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr),
        path_);
  const bt::hdf5::Dataspace memory(
      check(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), path_));
  check(H5Dread(source.dataset.get(), source.type.get(), memory.get(), space.get(), H5P_DEFAULT, out), path_);
}

bt::features::RawColumns LibraryReader::read_each(std::span<const std::int64_t> rows) const {
  std::vector<std::vector<std::byte>> bytes;
  for (const auto& source : sources_) {
    auto& buffer = bytes.emplace_back(rows.size() * source.layout.row_bytes());
    for (std::size_t i = 0; i < rows.size(); ++i)
      read_rows(source, rows[i], 1, buffer.data() + i * source.layout.row_bytes());
  }
  return widen_all(static_cast<std::int64_t>(rows.size()), bytes);
}

bt::features::RawColumns LibraryReader::read_block(std::int64_t first, std::int64_t count) const {
  std::vector<std::vector<std::byte>> bytes;
  for (const auto& source : sources_) {
    auto& buffer = bytes.emplace_back(static_cast<std::size_t>(count) * source.layout.row_bytes());
    read_rows(source, first, count, buffer.data());
  }
  return widen_all(count, bytes);
}

bt::features::RawColumns LibraryReader::widen_all(std::int64_t count,
                                                  const std::vector<std::vector<std::byte>>& bytes) const {
  bt::features::RawColumns raw{
      .rows = count, .slots = slots_, .first_row = 0, .file = path_, .jet = {}, .particle = {}};
  const auto rows = static_cast<std::size_t>(count);
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    for (const auto& column : sources_[i].columns) {
      if (column.per_particle) {
        auto& values = raw.particle[column.name];
        values.resize(rows * column.layout.slots);
        bt::data::widen(column.layout, bytes[i].data(), rows, values.data());
      } else {
        auto& values = raw.jet[column.name];
        values.resize(rows);
        bt::data::widen(column.layout, bytes[i].data(), rows, values.data());
      }
    }
  }
  return raw;
}

}  // namespace loader_benchmark
