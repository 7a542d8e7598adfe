// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/file_contents.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <compare>
#include <optional>
#include <set>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "contents_of.hpp"
#include "dataset_layout.hpp"
#include "unreadable_object.hpp"

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

#if H5_VERSION_GE(1, 12, 0)
using ObjectInfo = H5O_info1_t;
using LinkInfo = H5L_info1_t;
const auto kIterateLinks = H5Literate1;
#else
using ObjectInfo = H5O_info_t;
using LinkInfo = H5L_info_t;
const auto kIterateLinks = H5Literate;
#endif

herr_t collect_name(hid_t, const char* name, const LinkInfo*, void* names) {
  static_cast<std::vector<std::string>*>(names)->push_back(name);
  return 0;
}

/// Walks the groups of a file.
class Lister {
 public:
  Lister(hid_t file, FileListing& listing) : file_(file), listing_(listing) {}

  void list(hid_t group, const std::string& prefix) {
    const auto identity = identity_of(group);
    if (!identity || std::find(ancestors_.begin(), ancestors_.end(), *identity) != ancestors_.end()) return;
    // Groups of groups that are linked many times over could be walked for ever.
    if (listed_ > kMostNames && !seen_.insert(*identity).second) return;
    seen_.insert(*identity);
    ancestors_.push_back(*identity);
    std::vector<std::string> names;
    if (kIterateLinks(group, H5_INDEX_NAME, H5_ITER_INC, nullptr, collect_name, &names) < 0)
      listing_.unreadable.push_back({prefix.empty() ? "/" : prefix, hdf5::last_reason()});
    for (const auto& name : names) add(group, name, prefix + name);
    ancestors_.pop_back();
  }

 private:
  struct Identity {
    unsigned long file;
    haddr_t address;
    auto operator<=>(const Identity&) const = default;
  };
  static constexpr std::size_t kMostNames = 10000;

  static std::optional<Identity> identity_of(hid_t object) {
    ObjectInfo info{};
    if (H5Oget_info2(object, &info, H5O_INFO_BASIC) < 0) return std::nullopt;
    return Identity{info.fileno, info.addr};
  }

  void add(hid_t group, const std::string& name, const std::string& path) {
    ++listed_;
    const hdf5::Object object(H5Oopen(group, name.c_str(), access_.get()));
    if (!object) {
      listing_.unreadable.push_back({path, explain_unreadable(file_, path)});
      return;
    }
    const auto type = H5Iget_type(object.get());
    if (type == H5I_DATASET) listing_.datasets.push_back(path);
    if (type == H5I_GROUP) list(object.get(), path + "/");
  }

  hid_t file_;
  FileListing& listing_;
  const hdf5::PropertyList access_ = hdf5::read_only_access();
  std::vector<Identity> ancestors_;
  std::set<Identity> seen_;
  std::size_t listed_ = 0;
};

DatasetContents describe(const hdf5::File& file, const std::string& name, const std::string& path) {
  const std::string where = fmt::format("{}, dataset '{}'", path, name);
  const hdf5::PropertyList access = hdf5::read_only_access();
  const hdf5::Dataset dataset(hdf5::check(H5Dopen2(file.get(), name.c_str(), access.get()), where));
  const DatasetLayout layout = describe_dataset(dataset.get(), name, where);
  return {
      .shape = shape_of(layout), .text = to_string(layout), .storage = storage_of(layout), .unreadable = {}};
}

DatasetContents unreadable(const std::string& name, const std::string& why) {
  return {.shape = {.name = name, .kind = features::ElementKind::other, .shape = {}},
          .text = "cannot be opened",
          .storage = {},
          .unreadable = why};
}

}  // namespace

FileListing list_names(const hdf5::File& file) {
  const hdf5::LibraryLock lock;
  FileListing listing;
  const hdf5::Object root(hdf5::check(H5Oopen(file.get(), "/", H5P_DEFAULT), "opening the root of a file"));
  Lister(file.get(), listing).list(root.get(), "");
  return listing;
}

std::vector<DatasetContents> list_contents(const std::string& path) {
  return contents_of(hdf5::open_read_only(path), path);
}

std::vector<DatasetContents> contents_of(const hdf5::File& file, const std::string& path) {
  std::vector<DatasetContents> contents;
  const hdf5::LibraryLock lock;
  const auto listing = list_names(file);
  for (const auto& name : listing.datasets) {
    try {
      contents.push_back(describe(file, name, path));
    } catch (const DataError& error) {
      contents.push_back(unreadable(name, error.message()));
    }
  }
  for (const auto& name : listing.unreadable) contents.push_back(unreadable(name.name, name.why));
  std::ranges::stable_sort(contents, {}, [](const DatasetContents& dataset) { return dataset.shape.name; });
  return contents;
}

std::string hash_contents(std::span<const std::string> files) {
  Hasher hasher;
  for (const auto& file : files) {
    const std::string one = hash_file(file);
    hasher.update(std::as_bytes(std::span(one)));
  }
  return hasher.hex();
}

std::string list_contents(const std::vector<DatasetContents>& contents) {
  std::vector<std::string> lines;
  const DatasetContents* failed = nullptr;
  for (const auto& dataset : contents) {
    lines.push_back(dataset.shape.name + " " + dataset.text);
    if (failed == nullptr && !dataset.unreadable.empty()) failed = &dataset;
  }
  if (lines.empty()) return "none";
  const std::string listed = fmt::format("{}", fmt::join(lines, "; "));
  return failed == nullptr ? listed
                           : fmt::format("{} ({}: {})", listed, failed->shape.name, failed->unreadable);
}

std::vector<features::DatasetShape> shapes_of(const std::vector<DatasetContents>& contents) {
  std::vector<features::DatasetShape> shapes;
  for (const auto& dataset : contents)
    if (dataset.unreadable.empty()) shapes.push_back(dataset.shape);
  return shapes;
}

}  // namespace bunchtrain::data
