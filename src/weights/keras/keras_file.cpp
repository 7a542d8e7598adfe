// SPDX-License-Identifier: Apache-2.0
#include "keras_file.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <memory>
#include <span>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::weights::detail {
namespace {

// No weight file comes near these; a damaged one may claim anything.
constexpr int kDeepestGroup = 32;
constexpr std::size_t kMostNames = 1 << 16;
constexpr int kHighestRank = 8;
constexpr std::uint64_t kLargestNameList = 1 << 24;
constexpr std::uint64_t kDeflateLimit = 1032;  ///< bytes that deflate can make of one
constexpr std::uint64_t kSmallChunk = 1 << 20;

/// An HDF5 object's kind.
H5I_type_t kind(const hdf5::Object& object) { return H5Iget_type(object.get()); }

/// "a//b" has the parts a and b.
std::vector<std::string> parts_of(const std::string& path) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin < path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    if (end > begin) parts.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// The bytes of one chunk, 0 if the dataset has none.
std::uint64_t chunk_bytes(hid_t create, std::size_t element_bytes) {
  if (H5Pget_layout(create) != H5D_CHUNKED) return 0;
  std::array<hsize_t, H5S_MAX_RANK> extents{};
  const int rank = H5Pget_chunk(create, H5S_MAX_RANK, extents.data());
  if (rank < 0) return UINT64_MAX;
  std::uint64_t bytes = element_bytes;
  for (int axis = 0; axis < rank; ++axis) {
    if (__builtin_mul_overflow(bytes, extents[static_cast<std::size_t>(axis)], &bytes)) return UINT64_MAX;
  }
  return bytes;
}

/// Whether the library itself can undo all filters: others may be code from plug-ins.
bool has_plain_filters(hid_t create) {
  const int count = H5Pget_nfilters(create);
  for (int i = 0; i < count; ++i) {
    unsigned flags = 0, configuration = 0;
    std::size_t values = 0;
    const H5Z_filter_t filter = H5Pget_filter2(create, static_cast<unsigned>(i), &flags, &values, nullptr, 0,
                                               nullptr, &configuration);
    if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE && filter != H5Z_FILTER_FLETCHER32)
      return false;
  }
  return count >= 0;
}

/// Texts of fixed width, padded with zeros.
std::vector<std::string> split_texts(std::span<const char> text, std::size_t width) {
  std::vector<std::string> texts;
  for (std::size_t begin = 0; begin < text.size(); begin += width)
    texts.emplace_back(text.data() + begin, strnlen(text.data() + begin, width));
  return texts;
}

/// Collects the names of a group's hard links.
herr_t add_name(hid_t, const char* name, const H5L_info_t* link, void* names) {
  auto& found = *static_cast<std::vector<std::string>*>(names);
  if (link->type == H5L_TYPE_HARD) found.emplace_back(name);
  return found.size() > kMostNames ? -1 : 0;
}

}  // namespace

bool natural_less(const std::string& left, const std::string& right) {
  const auto is_digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
  std::size_t i = 0, j = 0;
  while (i < left.size() && j < right.size()) {
    if (!is_digit(left[i]) || !is_digit(right[j])) {
      if (left[i] != right[j]) return left[i] < right[j];
      ++i, ++j;
      continue;
    }
    const auto number_at = [&](const std::string& text, std::size_t& position) {
      const std::size_t begin = std::min(text.find_first_not_of('0', position), text.size());
      position = begin;
      while (position < text.size() && is_digit(text[position])) ++position;
      return text.substr(begin, position - begin);
    };
    const std::string a = number_at(left, i), b = number_at(right, j);
    if (a.size() != b.size()) return a.size() < b.size();
    if (a != b) return a < b;
  }
  return left.size() - i < right.size() - j;
}

KerasFile::KerasFile(const std::filesystem::path& path) : path_(path.string()) {
  const hdf5::LibraryLock lock;
  try {
    file_ = hdf5::open_read_only(path_);
  } catch (const DataError& error) {
    throw CheckpointError(error.message());
  }
  file_bytes_ = bytes_left_ = std::filesystem::file_size(path);
}

KerasFile::~KerasFile() {
  const hdf5::LibraryLock lock;
  file_.reset();
}

void KerasFile::fail(const std::string& object, const std::string& fault) const {
  throw CheckpointError(object.empty() ? fmt::format("{} {}", path_, fault)
                                       : fmt::format("{}: '{}' {}", path_, object, fault));
}

hdf5::Object KerasFile::open(const std::string& path) const {
  hdf5::Object object(H5Oopen(file_.get(), "/", H5P_DEFAULT));
  for (const std::string& part : parts_of(path)) {
    if (!object || kind(object) != H5I_GROUP || H5Lexists(object.get(), part.c_str(), H5P_DEFAULT) <= 0)
      fail(path, "is named by the file but not in it");
    H5L_info_t link{};
    if (H5Lget_info(object.get(), part.c_str(), &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD)
      fail(path, "is a link to another place; such files are not read");
    object.reset(H5Oopen(object.get(), part.c_str(), H5P_DEFAULT));
  }
  if (!object) fail(path, "cannot be opened: " + hdf5::last_reason());
  return object;
}

bool KerasFile::has_group(const std::string& path) const {
  const hdf5::LibraryLock lock;
  return H5Lexists(file_.get(), path.c_str(), H5P_DEFAULT) > 0 && kind(open(path)) == H5I_GROUP;
}

std::optional<std::vector<std::string>> KerasFile::names(const std::string& group,
                                                         const std::string& attribute) const {
  const hdf5::LibraryLock lock;
  const hdf5::Object object = open(group);
  if (H5Aexists(object.get(), attribute.c_str()) > 0) return read_names(object.get(), attribute, group);
  std::optional<std::vector<std::string>> names;
  for (int part = 0;; ++part) {
    const std::string name = attribute + std::to_string(part);
    if (H5Aexists(object.get(), name.c_str()) <= 0) return names;
    const auto more = read_names(object.get(), name, group);
    if (!names) names.emplace();
    names->insert(names->end(), more.begin(), more.end());
    if (names->size() > kMostNames) fail(group, fmt::format("lists more than {} names", kMostNames));
  }
}

std::vector<std::string> KerasFile::read_names(hid_t object, const std::string& attribute,
                                               const std::string& path) const {
  const std::string what = fmt::format("has a damaged list '{}'", attribute);
  const hdf5::Attribute names(H5Aopen(object, attribute.c_str(), H5P_DEFAULT));
  const hdf5::Dataspace space(names ? H5Aget_space(names.get()) : H5I_INVALID_HID);
  const hdf5::Datatype type(names ? H5Aget_type(names.get()) : H5I_INVALID_HID);
  if (!space || !type) fail(path, what);
  const hssize_t count = H5Sget_simple_extent_npoints(space.get());
  if (count == 0) return {};  // h5py stores an empty list as one of numbers
  const std::size_t width = H5Tget_size(type.get());
  if (H5Tget_class(type.get()) != H5T_STRING || width == 0) fail(path, what + ": it is not text");
  if (count < 0 || static_cast<std::size_t>(count) > kMostNames || width > kLargestNameList ||
      static_cast<std::uint64_t>(count) * width > std::min(file_bytes_, kLargestNameList))
    fail(path, fmt::format("{}: {} names of {} bytes in a file of {}", what, count, width, file_bytes_));

  if (H5Tis_variable_str(type.get()) <= 0) {
    std::vector<char> text(static_cast<std::size_t>(count) * width);
    if (H5Aread(names.get(), type.get(), text.data()) < 0) fail(path, what);
    return split_texts(text, width);
  }
  std::vector<char*> pointers(static_cast<std::size_t>(count), nullptr);
  auto* memory = static_cast<void*>(pointers.data());
  if (H5Aread(names.get(), type.get(), memory) < 0) fail(path, what);
  std::vector<std::string> texts;
  for (const char* text : pointers) texts.emplace_back(text ? text : "");
  H5Dvlen_reclaim(type.get(), space.get(), H5P_DEFAULT, memory);
  return texts;
}

std::vector<std::string> KerasFile::arrays_below(const std::string& group) const {
  const hdf5::LibraryLock lock;
  Listing listing;
  list(group, 0, listing);
  return std::move(listing.arrays);
}

void KerasFile::list(const std::string& path, int depth, Listing& listing) const {
  if (depth > kDeepestGroup) fail(path, "lies deeper than any Keras model nests its layers");
  if (++listing.visited > kMostNames) fail(path, fmt::format("is one of more than {} objects", kMostNames));
  const hdf5::Object object = open(path);
  if (kind(object) == H5I_DATASET) listing.arrays.push_back(path);
  if (kind(object) != H5I_GROUP) return;
  std::vector<std::string> names;
  if (H5Literate(object.get(), H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, add_name, &names) < 0)
    fail(path, "cannot be listed: " + hdf5::last_reason());
  std::ranges::sort(names, natural_less);
  for (const std::string& name : names) list(path.empty() ? name : path + "/" + name, depth + 1, listing);
}

std::vector<std::int64_t> KerasFile::checked_shape(hid_t dataset, const std::string& path) {
  const hdf5::Dataspace space(H5Dget_space(dataset));
  const int rank = space ? H5Sget_simple_extent_ndims(space.get()) : -1;
  if (rank > kHighestRank)
    fail(path, fmt::format("has {} axes; the arrays of a Keras model have {} at most", rank, kHighestRank));
  std::array<hsize_t, kHighestRank> extents{};
  if (rank < 0 || (rank > 0 && H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr) < 0))
    fail(path, "has no readable shape");
  std::uint64_t elements = 1;
  bool fits = true;
  for (int axis = 0; axis < rank; ++axis)
    fits = fits && !__builtin_mul_overflow(elements, extents[static_cast<std::size_t>(axis)], &elements);
  if (!fits || elements > INT64_MAX / sizeof(double)) fail(path, "claims more elements than there are bytes");
  check_storage(dataset, elements, path);
  return {extents.begin(), extents.begin() + rank};
}

void KerasFile::check_storage(hid_t dataset, std::uint64_t elements, const std::string& path) {
  const hdf5::PropertyList create(H5Dget_create_plist(dataset));
  const hdf5::Datatype type(H5Dget_type(dataset));
  if (!create || !type || H5Tget_class(type.get()) != H5T_FLOAT)
    fail(path, "holds no floating-point numbers");
  const std::uint64_t bytes = elements * H5Tget_size(type.get());
  const std::uint64_t stored = H5Dget_storage_size(dataset);
  const H5D_layout_t layout = H5Pget_layout(create.get());
  if (layout == H5D_VIRTUAL || H5Pget_external_count(create.get()) > 0)
    fail(path, "lies in another file; such files are not read");
  if (!has_plain_filters(create.get())) fail(path, "is packed by a filter that no Keras file uses");
  const bool chunked = layout == H5D_CHUNKED;
  if (stored > bytes_left_ || (chunked ? bytes / kDeflateLimit > stored : bytes != stored)) {
    fail(path, fmt::format("claims {} bytes, but the file of {} bytes holds {} of it; fetch it again", bytes,
                           file_bytes_, stored));
  }
  if (chunk_bytes(create.get(), H5Tget_size(type.get())) > std::max(bytes, kSmallChunk))
    fail(path, "claims pieces larger than itself");
  bytes_left_ -= stored;
}

at::Tensor KerasFile::read(const std::string& path) {
  const hdf5::LibraryLock lock;
  const hdf5::Object dataset = open(path);
  if (kind(dataset) != H5I_DATASET) fail(path, "is not an array");
  const std::vector<std::int64_t> shape = checked_shape(dataset.get(), path);
  const hdf5::Datatype type(H5Dget_type(dataset.get()));
  const bool is_double = H5Tget_size(type.get()) > sizeof(float);
  const at::Tensor tensor = at::empty(shape, is_double ? at::kDouble : at::kFloat);
  if (H5Dread(dataset.get(), is_double ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT,
              tensor.mutable_data_ptr()) < 0)
    fail(path, "cannot be read: " + hdf5::last_reason());
  return tensor;
}

}  // namespace bunchtrain::weights::detail
