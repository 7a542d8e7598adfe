// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/tensorboard_writer.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <vector>

#include "append_file.hpp"
#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::report {
namespace {

constexpr std::uint32_t kCastagnoli = 0x82F63B78;  // reversed polynomial

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t remainder = i;
    for (int bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ ((remainder & 1) ? kCastagnoli : 0);
    table[i] = remainder;
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

// TFRecord masks its checksums, because a checksum of data that hold checksums is weak.
std::uint32_t masked_crc(std::string_view bytes) {
  const std::uint32_t crc = crc32c(std::as_bytes(std::span(bytes)));
  return std::rotr(crc, 15) + 0xA282EAD8u;
}

template <class T>
void append_little_endian(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) out += static_cast<char>((value >> (8 * i)) & 0xFF);
}

// The wire types of protocol buffers that are needed here.
enum class Wire : std::uint64_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void append_tag(std::string& out, std::uint64_t field, Wire wire) {
  append_varint(out, field << 3 | static_cast<std::uint64_t>(wire));
}

std::string integer_field(std::uint64_t field, std::int64_t value) {
  std::string out;
  append_tag(out, field, Wire::varint);
  append_varint(out, static_cast<std::uint64_t>(value));
  return out;
}

std::string double_field(std::uint64_t field, double value) {
  std::string out;
  append_tag(out, field, Wire::fixed64);
  append_little_endian(out, std::bit_cast<std::uint64_t>(value));
  return out;
}

std::string float_field(std::uint64_t field, float value) {
  std::string out;
  append_tag(out, field, Wire::fixed32);
  append_little_endian(out, std::bit_cast<std::uint32_t>(value));
  return out;
}

std::string bytes_field(std::uint64_t field, std::string_view bytes) {
  std::string out;
  append_tag(out, field, Wire::bytes);
  append_varint(out, bytes.size());
  return out.append(bytes);
}

std::string packed_doubles_field(std::uint64_t field, const std::vector<double>& values) {
  std::string packed;
  for (double value : values) append_little_endian(packed, std::bit_cast<std::uint64_t>(value));
  return bytes_field(field, packed);
}

// Field numbers of tensorflow/core/util/event.proto and framework/{summary,tensor,tensor_shape,types}.proto.
namespace proto {
constexpr int kEventWallTime = 1, kEventStep = 2, kEventFileVersion = 3, kEventSummary = 5,
              kEventSessionLog = 7;
constexpr int kSessionLogStatus = 1, kSessionStart = 1;
constexpr int kSummaryValue = 1;
constexpr int kValueTag = 1, kValueSimple = 2, kValueHistogram = 5, kValueTensor = 8, kValueMetadata = 9;
constexpr int kHistogramMin = 1, kHistogramMax = 2, kHistogramCount = 3, kHistogramSum = 4,
              kHistogramSquares = 5, kHistogramLimits = 6, kHistogramCounts = 7;
constexpr int kTensorDtype = 1, kTensorShape = 2, kTensorString = 8, kDtypeString = 7, kShapeDim = 2,
              kDimSize = 1;
constexpr int kMetadataPlugin = 1, kPluginName = 1;
}  // namespace proto

std::string make_summary(std::string_view tag, std::string_view content) {
  const std::string value = bytes_field(proto::kValueTag, tag).append(content);
  return bytes_field(proto::kEventSummary, bytes_field(proto::kSummaryValue, value));
}

std::string make_histogram(const std::vector<double>& values) {
  constexpr int kBins = 30;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double width = *high > *low ? (*high - *low) / kBins : 1.0;
  std::vector<double> limits(kBins), counts(kBins);
  for (int i = 0; i < kBins; ++i) limits[i] = *low + width * (i + 1);
  double sum = 0, squares = 0;
  for (double value : values) {
    counts[std::min(kBins - 1, static_cast<int>((value - *low) / width))] += 1;
    sum += value;
    squares += value * value;
  }
  return double_field(proto::kHistogramMin, *low) + double_field(proto::kHistogramMax, *high) +
         double_field(proto::kHistogramCount, static_cast<double>(values.size())) +
         double_field(proto::kHistogramSum, sum) + double_field(proto::kHistogramSquares, squares) +
         packed_doubles_field(proto::kHistogramLimits, limits) +
         packed_doubles_field(proto::kHistogramCounts, counts);
}

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::filesystem::path make_event_path(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    throw_system_fault<DataError>(
        fmt::format("cannot create the folder {}: {}", folder.string(), error.message()), error.value());
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const auto seconds = static_cast<std::int64_t>(seconds_since_1970());
  // A second writer of the same second and process gets a number of its own.
  for (int number = 0;; ++number) {
    auto path =
        folder / fmt::format("events.out.tfevents.{:010}.{}.{}.{}", seconds, host.data(), ::getpid(), number);
    if (!std::filesystem::exists(path)) return path;
  }
}

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes) noexcept {
  std::uint32_t crc = ~0u;
  for (std::byte byte : bytes) crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<std::uint32_t>(byte)) & 0xFF];
  return ~crc;
}

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& folder)
    : path_(make_event_path(folder)), file_(std::make_unique<AppendFile>(path_)) {
  try {
    write_event(0, bytes_field(proto::kEventFileVersion, "brain.Event:2"));
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);  // an empty file is no event file
    throw;
  }
}

TensorBoardWriter::~TensorBoardWriter() = default;

void TensorBoardWriter::add_scalar(std::string_view tag, double value, std::int64_t step) {
  write_event(step, make_summary(tag, float_field(proto::kValueSimple, static_cast<float>(value))));
}

void TensorBoardWriter::add_histogram(std::string_view tag, std::span<const double> values,
                                      std::int64_t step) {
  std::vector<double> finite;
  std::copy_if(values.begin(), values.end(), std::back_inserter(finite),
               [](double v) { return std::isfinite(v); });
  if (finite.empty()) return;
  write_event(step, make_summary(tag, bytes_field(proto::kValueHistogram, make_histogram(finite))));
}

void TensorBoardWriter::add_text(std::string_view tag, std::string_view text, std::int64_t step) {
  const std::string shape = bytes_field(proto::kShapeDim, integer_field(proto::kDimSize, 1));
  const std::string tensor = integer_field(proto::kTensorDtype, proto::kDtypeString) +
                             bytes_field(proto::kTensorShape, shape) +
                             bytes_field(proto::kTensorString, text);
  const std::string plugin = bytes_field(proto::kMetadataPlugin, bytes_field(proto::kPluginName, "text"));
  write_event(step, make_summary(tag, bytes_field(proto::kValueTensor, tensor) +
                                          bytes_field(proto::kValueMetadata, plugin)));
}

void TensorBoardWriter::mark_restart(std::int64_t step) {
  const std::string start = integer_field(proto::kSessionLogStatus, proto::kSessionStart);
  write_event(step, bytes_field(proto::kEventSessionLog, start));
}

void TensorBoardWriter::sync() { file_->sync(); }

void TensorBoardWriter::write_event(std::int64_t step, std::string_view content) {
  const std::string event = double_field(proto::kEventWallTime, seconds_since_1970()) +
                            integer_field(proto::kEventStep, step).append(content);
  std::string record;
  append_little_endian(record, std::uint64_t{event.size()});
  append_little_endian(record, masked_crc(record));
  record += event;
  append_little_endian(record, masked_crc(event));
  file_->append(record);
}

}  // namespace bunchtrain::report
