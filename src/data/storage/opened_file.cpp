// SPDX-License-Identifier: Apache-2.0
#include "opened_file.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "bunchtrain/core/hash.hpp"
#include "contents_of.hpp"

namespace bunchtrain::data {
namespace {

constexpr std::size_t kSampledRows = 64;
constexpr std::size_t kSampledBytes = std::size_t{64} << 20;  // decoded for them

// As many rows as can be decoded at little cost, at equal distances, the first and the last among them.
void add_sample(const StoredDataset& dataset, Hasher& hasher) {
  const auto& layout = dataset.layout();
  const std::size_t rows = layout.rows(), row_bytes = std::max<std::size_t>(layout.row_bytes(), 1);
  const std::size_t affordable = kSampledBytes / (dataset.rows_per_chunk() * row_bytes);
  const std::size_t wanted = std::min(rows, std::clamp<std::size_t>(affordable, 4, kSampledRows));
  for (std::size_t i = 0; i < wanted; ++i)
    dataset.read_stored(wanted == 1 ? 0 : i * (rows - 1) / (wanted - 1), 1,
                        [&](std::size_t, std::size_t, const std::byte* bytes) {
                          hasher.update({bytes, layout.row_bytes()});
                        });
}

FileIdentity identity(const std::string& path, std::span<const StoredDataset* const> datasets,
                      bool hash_data) {
  Hasher hasher;
  std::vector<std::string> files{path};
  for (const StoredDataset* dataset : datasets) {
    dataset->add_structure(hasher);
    add_sample(*dataset, hasher);
    for (auto& other : dataset->other_files())
      if (std::ranges::find(files, other) == files.end()) files.push_back(std::move(other));
  }
  return {.path = path,
          .fingerprint = hasher.hex(),
          .rows = static_cast<std::int64_t>(datasets.front()->layout().rows()),
          .contents = hash_data ? hash_contents(files) : std::string()};
}

}  // namespace

void add_identity(const FileIdentity& file, Hasher& hasher) {
  hasher.update(std::as_bytes(std::span(file.fingerprint)));
  hasher.update(std::as_bytes(std::span(file.contents)));
}

OpenedFile::OpenedFile(const std::filesystem::path& path, const io::Engine* engine)
    : path_(path.string()),
      file_(std::make_shared<const hdf5::File>(hdf5::open_read_only(path_))),
      bytes_(std::make_shared<const FileBytes>(path_, engine)) {}

OpenedFile::~OpenedFile() { close(); }

bool OpenedFile::has(const std::string& dataset) const {
  const hdf5::LibraryLock lock;
  const hdf5::Object object(H5Oopen(file_->get(), dataset.c_str(), H5P_DEFAULT));
  if (object) return H5Iget_type(object.get()) == H5I_DATASET;
  const auto listing = data::list_names(*file_);
  return std::ranges::any_of(listing.unreadable, [&](const auto& one) { return one.name == dataset; });
}

std::string OpenedFile::list_names() const {
  const auto listing = data::list_names(*file_);
  return listing.datasets.empty() ? "no dataset at all"
                                  : fmt::format("{}", fmt::join(listing.datasets, ", "));
}

StoredDataset OpenedFile::open(const std::string& dataset, bool fill_missing) const {
  StoredDataset opened(file_, bytes_, dataset);
  opened.require_rows(fill_missing);
  return opened;
}

void OpenedFile::close() {
  const hdf5::LibraryLock lock;
  file_.reset();
}

std::vector<FileIdentity> OpenedFile::identities(std::span<const StoredDataset* const> datasets,
                                                 bool hash_data) const {
  std::vector<FileIdentity> files{identity(path_, datasets, hash_data)};
  std::map<std::string, std::vector<const StoredDataset*>> by_source;
  for (const StoredDataset* dataset : datasets)
    for (const auto& source : dataset->sources()) by_source[source->path()].push_back(source.get());
  for (const auto& [path, sources] : by_source) {
    files.push_back(identity(path, sources, hash_data));
    files.back().rows = 0;  // they are rows of the file before already
  }
  return files;
}

}  // namespace bunchtrain::data
