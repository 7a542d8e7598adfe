// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/file_contents.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "contents_of.hpp"
#include "dataset_layout.hpp"

namespace bunchtrain::data {
namespace {

features::ElementKind kind_of(const std::optional<ElementType>& type) {
  if (!type) return features::ElementKind::other;
  return type->kind == ElementType::Kind::floating ? features::ElementKind::real
                                                   : features::ElementKind::integer;
}

features::DatasetShape shape_of(const DatasetLayout& layout) {
  features::DatasetShape shape{.name = layout.name, .kind = kind_of(layout.type), .shape = {}};
  for (const auto extent : layout.shape) shape.shape.push_back(static_cast<std::int64_t>(extent));
  if (!layout.members.empty()) shape.kind = features::ElementKind::compound;
  for (const auto& member : layout.members) {
    std::int64_t values = 1;
    for (const auto extent : member.shape) values *= static_cast<std::int64_t>(extent);
    shape.members.push_back({.name = member.name, .kind = kind_of(member.type), .values = values});
  }
  return shape;
}

std::string storage_of(const DatasetLayout& layout) {
  if (layout.storage == H5D_CONTIGUOUS) return "contiguous";
  if (layout.storage == H5D_COMPACT) return "compact";
  if (layout.storage != H5D_CHUNKED) return "virtual";
  std::vector<std::string> filters;
  for (const auto& filter : layout.filters) filters.push_back(describe(filter));
  const std::string chunks = fmt::format("chunks of [{}]", fmt::join(layout.chunk, ", "));
  return filters.empty() ? chunks : fmt::format("{}, {}", chunks, fmt::join(filters, " + "));
}

herr_t collect_dataset(hid_t object, const char* name, const H5O_info_t*, void* names) {
  // The info of this callback differs between versions; opening the object tells its type in all of them.
  const hdf5::Object opened(H5Oopen(object, name, H5P_DEFAULT));
  if (opened && H5Iget_type(opened.get()) == H5I_DATASET)
    static_cast<std::vector<std::string>*>(names)->push_back(name);
  return 0;
}

}  // namespace

std::vector<std::string> list_datasets(const hdf5::File& file) {
  const hdf5::LibraryLock lock;
  std::vector<std::string> names;
#if H5_VERSION_GE(1, 12, 0)
  hdf5::check(H5Ovisit1(file.get(), H5_INDEX_NAME, H5_ITER_INC, collect_dataset, &names),
              "listing the datasets of a file");
#else
  hdf5::check(H5Ovisit(file.get(), H5_INDEX_NAME, H5_ITER_INC, collect_dataset, &names),
              "listing the datasets of a file");
#endif
  return names;
}

std::vector<DatasetContents> list_contents(const std::string& path) {
  return contents_of(hdf5::open_read_only(path), path);
}

std::vector<DatasetContents> contents_of(const hdf5::File& file, const std::string& path) {
  std::vector<DatasetContents> contents;
  const auto names = list_datasets(file);
  const hdf5::LibraryLock lock;
  for (const auto& name : names) {
    const hdf5::Dataset dataset(hdf5::check(H5Dopen2(file.get(), name.c_str(), H5P_DEFAULT), name));
    const DatasetLayout layout =
        describe_dataset(dataset.get(), name, fmt::format("{}, dataset '{}'", path, name));
    contents.push_back({.shape = shape_of(layout), .text = to_string(layout), .storage = storage_of(layout)});
  }
  return contents;
}

std::string list_contents(const std::vector<DatasetContents>& contents) {
  std::vector<std::string> lines;
  for (const auto& dataset : contents) lines.push_back(dataset.shape.name + " " + dataset.text);
  return lines.empty() ? "none" : fmt::format("{}", fmt::join(lines, "; "));
}

std::vector<features::DatasetShape> shapes_of(const std::vector<DatasetContents>& contents) {
  std::vector<features::DatasetShape> shapes;
  for (const auto& dataset : contents) shapes.push_back(dataset.shape);
  return shapes;
}

}  // namespace bunchtrain::data
