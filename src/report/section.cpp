// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/section.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/plot/detail/markup.hpp"
#include "bunchtrain/report/table.hpp"

namespace bunchtrain::report {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kMark = R"([{"title":)";  ///< what a file of sections begins with

// ---- What sections consist of, said once for both directions: an archive writes or reads a member per call;
// the optional ones, which version 0.1 had not, are left out where they are empty.

template <class Value, class Type>
concept Is = std::same_as<std::remove_const_t<Value>, Type>;

void visit(auto& archive, Is<plot::Axis> auto& axis) {
  archive("label", axis.label);
  archive("scale", axis.scale);
  archive("min", axis.min);
  archive("max", axis.max);
  archive("integers", axis.integers);
}

void visit(auto& archive, Is<plot::Series> auto& series) {
  archive("label", series.label);
  archive("mark", series.mark);
  archive("x", series.x);
  archive("y", series.y);
  archive("error", series.error);
  archive("color", series.color);
  archive("dashed", series.dashed);
  archive("filled", series.filled);
  archive("faint", series.faint);
}

void visit(auto& archive, Is<plot::Plot> auto& plot) {
  archive("title", plot.title);
  archive("x", plot.x);
  archive("y", plot.y);
  archive("series", plot.series);
  archive("description", plot.description);
  archive("width", plot.width);
  archive("height", plot.height);
  archive.optional("caption", plot.caption);
}

void visit(auto& archive, Is<plot::HeatMap> auto& map) {
  archive("title", map.title);
  archive("x_label", map.x_label);
  archive("y_label", map.y_label);
  archive("values", map.values);
  archive("scale", map.scale);
  archive("min", map.min);
  archive("max", map.max);
  archive("diverging", map.diverging);
  archive("row_names", map.row_names);
  archive("column_names", map.column_names);
  archive("print_values", map.print_values);
  archive("width", map.width);
  archive("height", map.height);
}

void visit(auto& archive, Is<SectionTable> auto& table) {
  archive("header", table.header);
  archive("rows", table.rows);
}

void visit(auto& archive, Is<PictureRow> auto& row) {
  archive("caption", row.caption);
  archive("pictures", row.pictures);
}

void visit(auto& archive, Is<SectionNumber> auto& number) {
  archive("label", number.label);
  archive("value", number.value);
}

void visit(auto& archive, Is<Section> auto& section) {
  archive("title", section.title);
  archive("paragraphs", section.paragraphs);
  archive("table", section.table);
  archive("plots", section.plots);
  archive("pictures", section.pictures);
  archive.optional("numbers", section.numbers);
}

// ---- Names of enumerators, in the order of their values.

constexpr std::array<std::string_view, 2> kScaleNames{"linear", "log"};
constexpr std::array<std::string_view, 5> kMarkNames{"line", "points", "steps", "bars", "band"};

constexpr const auto& names_of(plot::Scale) { return kScaleNames; }
constexpr const auto& names_of(plot::Mark) { return kMarkNames; }

// ---- Writing

struct Writer {
  Json json = Json::object();

  template <class Value>
  void operator()(const char* name, const Value& value) {
    json[name] = encode(value);
  }
  template <class Value>
  void optional(const char* name, const Value& value) {
    if (!value.empty()) (*this)(name, value);
  }

  // NaN becomes null when the text is made.
  template <class Value>
  static Json encode(const Value& value) {
    if constexpr (std::is_enum_v<Value>) {
      return names_of(value)[static_cast<std::size_t>(value)];
    } else if constexpr (std::is_arithmetic_v<Value> || std::is_same_v<Value, std::string>) {
      return value;
    } else {
      Writer writer;
      visit(writer, value);
      return writer.json;
    }
  }
  static Json encode(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }
  template <class Item>
  static Json encode(const std::vector<Item>& items) {
    Json list = Json::array();
    for (const Item& item : items) list.push_back(encode(item));
    return list;
  }
};

// ---- Reading

[[noreturn]] void fail(const std::string& where, std::string_view fault) {
  throw DataError(fmt::format("{} {}", where, fault));
}

/// Reads the members of one object and insists on exactly these.
class Reader {
 public:
  Reader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json.is_object()) fail(where_, "must be an object");
  }

  template <class Value>
  void operator()(const char* name, Value& value) {
    const auto found = json_.find(name);
    const std::string where = fmt::format("{}.{}", where_, name);
    if (found == json_.end()) fail(where, "is missing");
    ++members_;
    decode(*found, where, value);
  }

  template <class Value>
  void optional(const char* name, Value& value) {
    if (json_.contains(name)) (*this)(name, value);
  }

  // To be called after all members: none may be left over.
  void finish() const {
    if (json_.size() != members_)
      fail(where_, fmt::format("has {} members, {} are known", json_.size(), members_));
  }

  static void decode(const Json& json, const std::string& where, std::string& value) {
    if (!json.is_string()) fail(where, "must be a text");
    value = json.get<std::string>();
  }
  static void decode(const Json& json, const std::string& where, bool& value) {
    if (!json.is_boolean()) fail(where, "must be true or false");
    value = json.get<bool>();
  }
  static void decode(const Json& json, const std::string& where, int& value) {
    constexpr int kMost = std::numeric_limits<int>::max();
    if (!json.is_number_integer() || json > kMost || json < -kMost) fail(where, "must be a whole number");
    value = json.get<int>();
  }
  static void decode(const Json& json, const std::string& where, double& value) {
    if (!json.is_number() && !json.is_null()) fail(where, "must be a number or null");
    value = json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>();
  }
  static void decode(const Json& json, const std::string& where, std::optional<double>& value) {
    value.reset();
    if (!json.is_null()) decode(json, where, value.emplace());
  }
  template <class Enum>
  requires std::is_enum_v<Enum>
  static void decode(const Json& json, const std::string& where, Enum& value) {
    std::string name;
    decode(json, where, name);
    const auto& names = names_of(Enum{});
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) fail(where, fmt::format("is \"{}\", which is not known", name));
    value = static_cast<Enum>(found - names.begin());
  }
  template <class Item>
  static void decode(const Json& json, const std::string& where, std::vector<Item>& items) {
    if (!json.is_array()) fail(where, "must be a list");
    items.resize(json.size());
    for (std::size_t i = 0; i < items.size(); ++i) decode(json[i], fmt::format("{}[{}]", where, i), items[i]);
  }
  template <class Value>
  requires std::is_aggregate_v<Value>
  static void decode(const Json& json, const std::string& where, Value& value) {
    Reader reader(json, where);
    visit(reader, value);
    reader.finish();
  }

 private:
  const Json& json_;
  std::string where_;
  std::size_t members_ = 0;
};

void check_table(const Section& section) {
  for (const auto& row : section.table.rows) {
    if (row.size() == section.table.header.size()) continue;
    throw ConfigError(fmt::format("the table of section \"{}\" has a row of {} cells below {} headings",
                                  section.title, row.size(), section.table.header.size()));
  }
}

void check_size(std::string_view what, const std::string& title, int width, int height) {
  constexpr int kMost = 10'000;
  if (std::min(width, height) >= 1 && std::max(width, height) <= kMost) return;
  throw ConfigError(
      fmt::format("{} \"{}\" is {} x {} pixels; 1 to {} are possible", what, title, width, height, kMost));
}

}  // namespace

void validate(const Section& section) {
  check_table(section);
  for (const plot::Plot& plot : section.plots) {
    check_size("plot", plot.title, plot.width, plot.height);
    validate(plot);
  }
  for (const PictureRow& row : section.pictures) {
    for (const plot::HeatMap& map : row.pictures) {
      check_size("heat map", map.title, map.width, map.height);
      validate(map);
    }
  }
}

void write_sections(const std::filesystem::path& path, const std::vector<Section>& sections) {
  for (const Section& section : sections) validate(section);
  write_file_atomically(path,
                        Writer::encode(sections).dump(-1, ' ', false, Json::error_handler_t::replace) + '\n');
}

bool is_sections_file(const std::filesystem::path& path) { return begins_with_mark(path, kMark); }

std::string format_text(const Section& section, std::size_t width) {
  std::string text;
  for (const std::string& paragraph : section.paragraphs) text += paragraph + '\n';
  if (section.table.rows.empty()) return text;
  std::vector<std::string> header;
  for (const std::string& heading : section.table.header) header.push_back(plot::plain_label(heading));
  Table table(std::move(header));
  for (const auto& row : section.table.rows) table.add_row(row);
  return text + table.to_string(TableStyle::box, width);
}

std::vector<Section> read_sections(const std::filesystem::path& path) {
  std::vector<Section> sections;
  try {
    Reader::decode(Json::parse(read_text_file(path)), "sections", sections);
    for (const Section& section : sections) validate(section);
  } catch (const Json::exception& error) {
    throw DataError(fmt::format("{} is not JSON: {}", path.string(), error.what()));
  } catch (const ConfigError& error) {
    throw DataError(fmt::format("{} is damaged: {}", path.string(), error.message()));
  } catch (DataError& error) {
    error.add_context("in " + path.string());
    throw;
  }
  return sections;
}

}  // namespace bunchtrain::report
