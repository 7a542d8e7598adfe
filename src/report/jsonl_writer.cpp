// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/jsonl_writer.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "append_file.hpp"
#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::report {
namespace {

std::ifstream open_to_read(const std::filesystem::path& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (file) return file;
  const int code = errno != 0 ? errno : ENOENT;
  throw_system_fault<DataError>(fmt::format("cannot read {}: {}", path.string(), std::strerror(code)), code);
}

// Calls visit(number, begin, line) for every complete line until it returns false.
template <class Visit>
void for_each_line(const std::filesystem::path& path, Visit&& visit) {
  std::ifstream file = open_to_read(path);
  std::string line;
  std::int64_t begin = 0;
  for (std::int64_t number = 1; std::getline(file, line) && !file.eof(); ++number) {
    if (!visit(number, begin, std::string_view(line))) return;
    begin += static_cast<std::int64_t>(line.size()) + 1;
  }
}

// Looks backwards, so that a long file costs no more than a short one.
std::int64_t end_of_last_line(const std::filesystem::path& path, std::int64_t bytes) {
  constexpr std::int64_t kPiece = 64 << 10;
  std::ifstream file = open_to_read(path);
  std::string piece;
  for (std::int64_t end = bytes; end > 0; end -= static_cast<std::int64_t>(piece.size())) {
    piece.resize(static_cast<std::size_t>(std::min(kPiece, end)));
    const std::int64_t begin = end - static_cast<std::int64_t>(piece.size());
    file.seekg(begin).read(piece.data(), static_cast<std::streamsize>(piece.size()));
    const std::size_t found = piece.rfind('\n');
    if (found != std::string::npos) return begin + static_cast<std::int64_t>(found) + 1;
  }
  return 0;
}

std::optional<Record> try_to_parse(std::string_view line, std::string* reason = nullptr) {
  try {
    return parse_record(line);
  } catch (const DataError& error) {
    if (reason) *reason = error.message();
    return std::nullopt;
  }
}

bool comes_after(const Record& record, std::int64_t step, bool epoch_anew) {
  const double at = number(record, "step");
  if (at > static_cast<double>(step)) return true;
  return epoch_anew && at == static_cast<double>(step) && text(record, "kind") == "epoch";
}

}  // namespace

JsonlWriter::JsonlWriter(std::filesystem::path path)
    : path_(std::move(path)), file_(std::make_unique<AppendFile>(path_)) {
  const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(path_));
  const std::int64_t complete = end_of_last_line(path_, bytes);
  if (complete != bytes) file_->truncate(complete);
}

JsonlWriter::~JsonlWriter() = default;

void JsonlWriter::append(const Record& record) { file_->append(to_json(record) + '\n'); }

void JsonlWriter::sync() { file_->sync(); }

std::vector<std::int64_t> JsonlWriter::truncate_after(std::int64_t step, bool epoch_anew) {
  std::vector<std::int64_t> bad_lines;
  std::int64_t keep = -1;
  for_each_line(path_, [&](std::int64_t line, std::int64_t begin, std::string_view text) {
    const auto record = try_to_parse(text);
    if (!record) bad_lines.push_back(line);
    if (record && comes_after(*record, step, epoch_anew)) keep = begin;
    return keep < 0;
  });
  if (keep < 0) return bad_lines;
  file_->truncate(keep);
  file_->sync();
  return bad_lines;
}

BadLines visit_jsonl(const std::filesystem::path& path, const std::function<void(const Record&)>& visit) {
  BadLines bad;
  for_each_line(path, [&](std::int64_t line, std::int64_t, std::string_view text) {
    std::string reason;
    if (const auto record = try_to_parse(text, &reason)) {
      visit(*record);
    } else if (++bad.count == 1) {
      bad.first = line;
      bad.reason = std::move(reason);
    }
    return true;
  });
  return bad;
}

std::vector<Record> read_jsonl(const std::filesystem::path& path) {
  std::vector<Record> records;
  const BadLines bad = visit_jsonl(path, [&](const Record& record) { records.push_back(record); });
  if (bad.count == 0) return records;
  DataError error(bad.reason);
  error.add_context(fmt::format("in {}, line {}", path.string(), bad.first));
  throw error;
}

}  // namespace bunchtrain::report
