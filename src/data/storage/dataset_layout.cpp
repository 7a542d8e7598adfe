// SPDX-License-Identifier: Apache-2.0
#include "dataset_layout.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <memory>

#include "hdf5_library.hpp"

namespace bunchtrain::data {
namespace {

using hdf5::check;

std::string class_name(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_STRING:
      return "string";
    case H5T_COMPOUND:
      return "compound";
    case H5T_VLEN:
      return "variable length";
    case H5T_REFERENCE:
      return "reference";
    case H5T_OPAQUE:
      return "opaque";
    case H5T_BITFIELD:
      return "bit field";
    case H5T_FLOAT:
      return fmt::format("{}-byte float of no IEEE format", H5Tget_size(type));
    default:
      return "an unknown type";
  }
}

CompoundMember describe_member(hid_t compound, unsigned index, const std::string& where) {
  const std::unique_ptr<char, herr_t (*)(void*)> name(H5Tget_member_name(compound, index), H5free_memory);
  if (!name) hdf5::fail(where);
  CompoundMember member{
      .name = name.get(), .offset = H5Tget_member_offset(compound, index), .shape = {}, .type = {}};
  const hdf5::Datatype type(check(H5Tget_member_type(compound, index), where));
  if (H5Tget_class(type.get()) != H5T_ARRAY) {
    member.type = to_element_type(type.get());
    return member;
  }
  std::array<hsize_t, H5S_MAX_RANK> extents{};
  const int rank = check(H5Tget_array_dims2(type.get(), extents.data()), where);
  member.shape.assign(extents.begin(), extents.begin() + rank);
  const hdf5::Datatype element(check(H5Tget_super(type.get()), where));
  member.type = to_element_type(element.get());
  return member;
}

void describe_type(hid_t dataset, DatasetLayout& layout, const std::string& where) {
  const hdf5::Datatype type(check(H5Dget_type(dataset), where));
  layout.element_bytes = H5Tget_size(type.get());
  layout.type = to_element_type(type.get());
  layout.type_text = layout.type ? to_string(*layout.type) : class_name(type.get());
  if (H5Tget_class(type.get()) != H5T_COMPOUND) return;
  const int members = check(H5Tget_nmembers(type.get()), where);
  for (int i = 0; i < members; ++i)
    layout.members.push_back(describe_member(type.get(), static_cast<unsigned>(i), where));
}

void describe_filters(hid_t create, DatasetLayout& layout, const std::string& where) {
  const int count = check(H5Pget_nfilters(create), where);
  for (int i = 0; i < count; ++i) {
    std::array<unsigned, 32> values{};
    std::array<char, 64> name{};
    std::size_t value_count = values.size();
    unsigned flags = 0, configuration = 0;
    const auto id = check(H5Pget_filter2(create, static_cast<unsigned>(i), &flags, &value_count,
                                         values.data(), name.size(), name.data(), &configuration),
                          where);
    value_count = std::min(value_count, values.size());
    layout.filters.push_back(
        {.id = id,
         .values = {values.begin(), values.begin() + static_cast<std::ptrdiff_t>(value_count)},
         .name = name.data()});
  }
}

void describe_storage(hid_t dataset, DatasetLayout& layout, const std::string& where) {
  const hdf5::PropertyList create(check(H5Dget_create_plist(dataset), where));
  layout.storage = H5Pget_layout(create.get());
  if (layout.storage == H5D_CHUNKED) {
    layout.chunk.resize(layout.shape.size());
    check(H5Pget_chunk(create.get(), static_cast<int>(layout.chunk.size()), layout.chunk.data()), where);
  }
  describe_filters(create.get(), layout, where);
  layout.fill.resize(layout.element_bytes);
  const hdf5::Datatype type(check(H5Dget_type(dataset), where));
  H5D_fill_value_t defined = H5D_FILL_VALUE_UNDEFINED;
  if (H5Pfill_value_defined(create.get(), &defined) >= 0 && defined == H5D_FILL_VALUE_USER_DEFINED)
    check(H5Pget_fill_value(create.get(), type.get(), layout.fill.data()), where);
}

}  // namespace

std::size_t DatasetLayout::row_bytes() const {
  std::size_t bytes = element_bytes;
  for (std::size_t axis = 1; axis < shape.size(); ++axis) bytes *= static_cast<std::size_t>(shape[axis]);
  return bytes;
}

std::size_t DatasetLayout::chunk_bytes() const {
  std::size_t bytes = element_bytes;
  for (const auto extent : chunk) bytes *= static_cast<std::size_t>(extent);
  return bytes;
}

bool DatasetLayout::has_rows_of(const DatasetLayout& other) const {
  const bool are_numbers = type.has_value() || !members.empty();
  return are_numbers && type == other.type && members == other.members &&
         element_bytes == other.element_bytes && row_bytes() == other.row_bytes();
}

const CompoundMember* DatasetLayout::find(std::string_view member) const {
  const auto found =
      std::find_if(members.begin(), members.end(), [&](const CompoundMember& m) { return m.name == member; });
  return found == members.end() ? nullptr : &*found;
}

DatasetLayout describe_dataset(hid_t dataset, std::string name, const std::string& where) {
  DatasetLayout layout;
  layout.name = std::move(name);
  const hdf5::Dataspace space(check(H5Dget_space(dataset), where));
  layout.shape.resize(static_cast<std::size_t>(check(H5Sget_simple_extent_ndims(space.get()), where)));
  check(H5Sget_simple_extent_dims(space.get(), layout.shape.data(), nullptr), where);
  describe_type(dataset, layout, where);
  describe_storage(dataset, layout, where);
  return layout;
}

void repeat(std::span<const std::byte> element, std::span<std::byte> out) {
  for (std::size_t at = 0; at < out.size(); at += element.size())
    std::copy(element.begin(), element.end(), out.begin() + static_cast<std::ptrdiff_t>(at));
}

std::span<const std::byte> repeated(std::span<const std::byte> element, std::size_t bytes) {
  thread_local GrowingBuffer buffer;
  const auto copies = buffer.take(bytes);
  repeat(element, copies);
  return copies;
}

std::string to_string(const DatasetLayout& layout) {
  return fmt::format("[{}] {}", fmt::join(layout.shape, ", "), layout.type_text);
}

}  // namespace bunchtrain::data
