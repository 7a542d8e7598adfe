// SPDX-License-Identifier: Apache-2.0
#include "header.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "bunchtrain/core/error.hpp"
#include "dtypes.hpp"

namespace bunchtrain::weights::detail {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kMetadataKey = "__metadata__";
constexpr std::size_t kMaxRank = 64;

/// Fills a Header from the events of a JSON parser and stops at the first thing that a header may not hold.
/// Works on events so that neither deep nesting nor a repeated key can slip through a tree.
class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  const std::string& fault() const noexcept { return fault_; }
  Header take() && { return std::move(header_); }

  bool start_object(std::size_t) override {
    if (in_array_) return fail("an object where a number is expected");
    if (depth_ >= 2) return fail("an object where a value is expected");
    if (depth_++ == 1) open_tensor();
    return true;
  }
  bool end_object() override {
    --depth_;
    if (depth_ == 1 && !in_metadata_) return close_tensor();
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ != 2 || in_array_) return fail("a list where none is expected");
    if (in_metadata_ || (field_ != "shape" && field_ != "data_offsets"))
      return fail("a list where none is expected");
    in_array_ = true;
    numbers_.clear();
    return true;
  }
  bool end_array() override {
    in_array_ = false;
    if (field_ == "shape") return set_shape();
    if (numbers_.size() != 2) return fail("data_offsets must be two numbers");
    entry_.begin = numbers_[0];
    entry_.end = numbers_[1];
    return true;
  }
  bool key(std::string& name) override {
    if (depth_ == 1) {
      if (!names_.insert(name).second) return fail("the name appears twice", name);
      entry_ = {};
      entry_.name = name;
      in_metadata_ = name == kMetadataKey;
      has_key_ = true;
      return true;
    }
    if (!fields_.insert(name).second) return fail(fmt::format("'{}' appears twice", name));
    if (!in_metadata_ && name != "dtype" && name != "shape" && name != "data_offsets") {
      return fail(fmt::format("unknown field '{}'", name));
    }
    field_ = name;
    return true;
  }
  bool string(std::string& text) override {
    if (depth_ != 2 || in_array_) return fail("a text where none is expected");
    if (in_metadata_) {
      header_.metadata[field_] = text;
      return true;
    }
    if (field_ != "dtype") return fail(fmt::format("'{}' must be a list of numbers", field_));
    const auto dtype = parse_dtype(text);
    if (!dtype) return fail(fmt::format("dtype '{}' is not supported ({} are)", text, dtype_names()));
    entry_.dtype = *dtype;
    return true;
  }
  bool number_unsigned(std::uint64_t value) override {
    if (!in_array_) return fail("a number where none is expected");
    if (numbers_.size() >= kMaxRank) return fail(fmt::format("more than {} dimensions", kMaxRank));
    numbers_.push_back(value);
    return true;
  }
  bool number_integer(std::int64_t value) override {
    return fail(fmt::format("a negative number, {}", value));
  }
  bool number_float(double, const std::string& text) override {
    return fail(fmt::format("'{}' is not a whole number that fits 64 bits", text.substr(0, 40)));
  }
  bool null() override { return fail("null where a value is expected"); }
  bool boolean(bool) override { return fail("true or false where none is expected"); }
  bool binary(Json::binary_t&) override { return false; }  // not in a text
  bool parse_error(std::size_t position, const std::string&, const Json::exception&) override {
    fault_ = fmt::format("the header is not JSON: fault at byte {}", position);
    return false;
  }

 private:
  bool fail(std::string_view what) { return fail(what, entry_.name); }
  bool fail(std::string_view what, std::string_view name) {
    fault_ = has_key_ ? fmt::format("tensor '{}': {}", name, what) : fmt::format("the header holds {}", what);
    return false;
  }
  void open_tensor() { fields_.clear(); }
  bool close_tensor() {
    for (const char* field : {"dtype", "shape", "data_offsets"}) {
      if (!fields_.contains(field)) return fail(fmt::format("'{}' is missing", field));
    }
    header_.entries.push_back(std::move(entry_));
    entry_ = {};
    return true;
  }
  bool set_shape() {
    for (const std::uint64_t size : numbers_) {
      if (size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        return fail("a dimension is too large");
      entry_.shape.push_back(static_cast<std::int64_t>(size));
    }
    return true;
  }

  Header header_;
  TensorEntry entry_;
  std::unordered_set<std::string> names_, fields_;
  std::string field_, fault_;
  std::vector<std::uint64_t> numbers_;
  int depth_ = 0;
  bool has_key_ = false, in_metadata_ = false, in_array_ = false;
};

[[noreturn]] void refuse(std::string_view origin, std::string_view what) {
  throw CheckpointError(
      fmt::format("{} is not a safetensors file that can be read: {}; write it again or choose another file",
                  origin, what));
}

void check_sizes(const Header& header, std::uint64_t data_bytes, std::string_view origin) {
  for (const TensorEntry& entry : header.entries) {
    const auto bytes = byte_count(entry);
    if (!bytes) refuse(origin, fmt::format("tensor '{}' has more elements than can be counted", entry.name));
    if (entry.begin > entry.end || entry.end > data_bytes) {
      refuse(origin, fmt::format("tensor '{}' lies at bytes {} to {}, but the file holds {} bytes of data",
                                 entry.name, entry.begin, entry.end, data_bytes));
    }
    if (entry.end - entry.begin != *bytes) {
      refuse(origin, fmt::format("tensor '{}' needs {} bytes for shape [{}], its offsets span {}", entry.name,
                                 *bytes, fmt::join(entry.shape, ", "), entry.end - entry.begin));
    }
  }
}

void check_contiguous(const Header& header, std::uint64_t data_bytes, std::string_view origin) {
  std::vector<const TensorEntry*> by_place;
  for (const TensorEntry& entry : header.entries) by_place.push_back(&entry);
  std::ranges::sort(by_place, [](const TensorEntry* a, const TensorEntry* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  std::uint64_t place = 0;
  for (const TensorEntry* entry : by_place) {
    if (entry->begin != place) {
      refuse(
          origin,
          fmt::format(
              "tensor '{}' begins at byte {} where {} is expected: data must have neither holes nor overlaps",
              entry->name, entry->begin, place));
    }
    place = entry->end;
  }
  if (place != data_bytes) {
    refuse(origin, fmt::format("{} bytes of data belong to no tensor", data_bytes - place));
  }
}

}  // namespace

std::optional<std::uint64_t> byte_count(const TensorEntry& entry) {
  std::uint64_t count = bytes_of(entry.dtype);
  bool empty = false;
  for (const std::int64_t size : entry.shape) {
    if (size == 0) {
      empty = true;
      continue;
    }
    if (__builtin_mul_overflow(count, static_cast<std::uint64_t>(size), &count)) return std::nullopt;
    if (count > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
  }
  return empty ? 0 : count;
}

std::uint64_t read_header_length(std::span<const std::byte> prefix, std::uint64_t file_bytes,
                                 std::string_view origin) {
  if (prefix.size() < kPrefixBytes || file_bytes < kPrefixBytes) {
    refuse(origin, fmt::format("it has only {} bytes", file_bytes));
  }
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kPrefixBytes; ++i)
    length |= std::to_integer<std::uint64_t>(prefix[i]) << (8 * i);
  if (length > kMaxHeaderBytes) {
    refuse(origin, fmt::format("its header claims {} bytes, at most {} are read", length, kMaxHeaderBytes));
  }
  if (length > file_bytes - kPrefixBytes) {
    refuse(origin, fmt::format("its header claims {} bytes, the file ends after {}", length,
                               file_bytes - kPrefixBytes));
  }
  return length;
}

Header parse_header(std::string_view json, std::uint64_t data_bytes, std::string_view origin) {
  if (json.empty() || json.front() != '{') refuse(origin, "its header does not begin with '{'");
  HeaderReader reader;
  if (!Json::sax_parse(json.begin(), json.end(), &reader)) refuse(origin, reader.fault());
  Header header = std::move(reader).take();
  check_sizes(header, data_bytes, origin);
  check_contiguous(header, data_bytes, origin);
  return header;
}

std::string format_header(const Header& header, std::string_view origin) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!header.metadata.empty()) json[std::string(kMetadataKey)] = header.metadata;
  for (const TensorEntry& entry : header.entries) {
    if (entry.name == kMetadataKey) {
      throw CheckpointError(
          fmt::format("cannot write {}: a tensor may not be called '{}'", origin, kMetadataKey));
    }
    nlohmann::ordered_json tensor;
    tensor["dtype"] = to_string(entry.dtype);
    tensor["shape"] = entry.shape;
    tensor["data_offsets"] = {entry.begin, entry.end};
    json[entry.name] = std::move(tensor);
  }
  try {
    std::string text = json.dump();
    text.resize((text.size() + kPrefixBytes - 1) / kPrefixBytes * kPrefixBytes, ' ');
    return text;
  } catch (const Json::exception&) {
    throw CheckpointError(
        fmt::format("cannot write {}: a tensor name or metadata text is not UTF-8", origin));
  }
}

}  // namespace bunchtrain::weights::detail
