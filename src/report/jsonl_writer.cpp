// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/jsonl_writer.hpp"

#include <fmt/core.h>

#include <string>

#include "append_file.hpp"
#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::report {
namespace {

// Calls visit(line number, begin, end) for every complete line until it returns false.
template <class Visit>
void for_each_line(std::string_view text, Visit&& visit) {
  std::size_t begin = 0;
  for (std::int64_t number = 1; begin < text.size(); ++number) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string_view::npos || !visit(number, begin, end)) return;
    begin = end + 1;
  }
}

Record parse_line(const std::filesystem::path& path, std::int64_t number, std::string_view line) {
  try {
    return parse_record(line);
  } catch (DataError& error) {
    error.add_context(fmt::format("in {}, line {}", path.string(), number));
    throw;
  }
}

}  // namespace

JsonlWriter::JsonlWriter(std::filesystem::path path)
    : path_(std::move(path)), file_(std::make_unique<AppendFile>(path_)) {
  const std::string text = read_text_file(path_);
  const std::size_t complete = text.rfind('\n') + 1;  // npos + 1 is 0
  if (complete != text.size()) file_->truncate(static_cast<std::int64_t>(complete));
}

JsonlWriter::~JsonlWriter() = default;

void JsonlWriter::append(const Record& record) { file_->append(to_json(record) + '\n'); }

void JsonlWriter::sync() { file_->sync(); }

void JsonlWriter::truncate_after(std::int64_t step) {
  const std::string text = read_text_file(path_);
  std::size_t keep = text.size();
  for_each_line(text, [&](std::int64_t line, std::size_t begin, std::size_t end) {
    const Record record = parse_line(path_, line, std::string_view(text).substr(begin, end - begin));
    if (!(number(record, "step") > static_cast<double>(step))) return true;
    keep = begin;
    return false;
  });
  if (keep == text.size()) return;
  file_->truncate(static_cast<std::int64_t>(keep));
  file_->sync();
}

std::vector<Record> read_jsonl(const std::filesystem::path& path) {
  const std::string text = read_text_file(path);
  std::vector<Record> records;
  for_each_line(text, [&](std::int64_t line, std::size_t begin, std::size_t end) {
    records.push_back(parse_line(path, line, std::string_view(text).substr(begin, end - begin)));
    return true;
  });
  return records;
}

}  // namespace bunchtrain::report
