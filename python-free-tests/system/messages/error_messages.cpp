// SPDX-License-Identifier: Apache-2.0
/// The list of all error messages with the test that provokes each.
///   error_messages table SOURCE TRACES       the list as Markdown, from what `collect` noted, test by test
///   error_messages check SOURCE LIST BOUND   fails if more messages than BOUND, of those that users can
///                                            provoke, are untested
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <deque>
#include <fstream>
#include <map>
#include <set>
#include <string_view>

#include "source_messages.hpp"

namespace bunchtrain::messages {
namespace {

struct Raised {
  std::string file;
  int line = 0;
  std::string text;
  std::string test;
};

std::vector<Raised> read_traces(const std::filesystem::path& folder) {
  std::vector<Raised> all;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      const std::size_t tab = line.find('\t'), colon = line.rfind(':', tab);
      if (tab == std::string::npos || colon == std::string::npos) continue;
      all.push_back({line.substr(0, colon), std::stoi(line.substr(colon + 1, tab - colon - 1)),
                     line.substr(tab + 1), entry.path().filename().string()});
    }
  }
  return all;
}

std::set<std::string> tests_of(const Site& site, const std::vector<Raised>& raised) {
  std::set<std::string> tests;
  for (const auto& one : raised)
    if (!tests.contains(one.test) && site.raises(one.text, one.file, one.line)) tests.insert(one.test);
  return tests;
}

/// Why no test provokes what a user might meet.
struct Reason {
  std::string_view file, text, why;
};
constexpr std::array kReasons = {
    Reason{"src/tasks/jet_tagging/ensemble.cpp", "the network must give",
           "a mistake of a program's own network"},
    Reason{"src/report/append_file.cpp", "shorten", "no file system at hand refuses to shorten a file"},
    Reason{"src/infer/onnx/onnx_export.cpp", "differs from its network",
           "a fault of ours, found before users meet it"},
    Reason{"src/infer/onnx/runtime.cpp", "of version 1 or newer", "no library so old is at hand"},
    Reason{"src/weights/keras/keras_file.cpp", "cannot be listed",
           "HDF5 says so of some damaged files alone"},
    Reason{"src/weights/keras/keras_file.cpp", "has no readable shape",
           "HDF5 says so of some damaged files alone"},
};

std::string why_untested(const Site& site) {
  const std::string text = site.pattern();
  const auto reason = std::ranges::find_if(kReasons, [&](const Reason& one) {
    return site.file == one.file && text.find(one.text) != std::string::npos;
  });
  return reason == kReasons.end() ? "untested" : fmt::format("untested: {}", reason->why);
}

/// The first test, those of a module's own before those of whole programs.
std::string name_test(const Site& site, const std::set<std::string>& tests) {
  if (tests.empty()) return why_untested(site);
  const std::string module = site.file.substr(site.file.find('/') + 1);
  const std::string prefix = module.substr(0, module.find('/')) + ".";
  const auto own = std::ranges::find_if(tests, [&](const auto& test) { return test.starts_with(prefix); });
  const std::string& first = own == tests.end() ? *tests.begin() : *own;
  return tests.size() == 1 ? first : fmt::format("{} +{}", first, tests.size() - 1);
}

/// Text that stands in a table and means itself.
std::string in_cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '<' || c == '*' || c == '_' || c == '[' || c == '`') out += '\\';
    out += c;
  }
  return out;
}

/// What finds a site again in a list that was made when its line was another.
std::string key_of(const Site& site) {
  return site.file + " | " + site.raised_by + " | " + in_cell(site.pattern()) + " |";
}

/// The rows of a list by the keys of their sites: whether they name a test. Sites of one key are in order.
std::map<std::string, std::deque<bool>> read_list(const char* path) {
  std::map<std::string, std::deque<bool>> rows;
  std::ifstream file(path);
  for (std::string row; std::getline(file, row);) {
    const std::size_t colon = row.find(':'), test = row.rfind(" | ");
    const std::size_t after_line = row.find(" | ", colon == std::string::npos ? row.size() : colon);
    if (!row.starts_with("| ") || after_line == std::string::npos || test <= after_line) continue;
    const std::string key = row.substr(2, colon - 2) + row.substr(after_line, test + 2 - after_line);
    rows[key].push_back(!row.substr(test + 3).starts_with("untested"));
  }
  return rows;
}

void print_table(const std::vector<Site>& sites, const std::vector<Raised>& raised) {
  std::size_t tested = 0, users = 0, users_tested = 0;
  std::string rows;
  for (const Site& site : sites) {
    const std::string test = name_test(site, tests_of(site, raised));
    const bool is_tested = !test.starts_with("untested");
    tested += is_tested;
    users += site.is_users();
    users_tested += site.is_users() && is_tested;
    rows += fmt::format("| {}:{}{} {} |\n", site.file, site.first_line, key_of(site).substr(site.file.size()),
                        test);
  }
  fmt::print(
      "# Error messages\n\nMade by `python-free-tests/system/messages/collect`: every place in the sources "
      "that raises an "
      "error, and the CTest entry that was seen to raise it (`+3`: three others too). `...` stands for a "
      "value, `/` between texts of one message.\n\n{} of {} messages are tested; {} of the {} that data, options or "
      "files provoke.\n\n| where | raised by | text | test |\n| --- | --- | --- | --- |\n{}",
      tested, sites.size(), users_tested, users, rows);
}

int check(const std::vector<Site>& sites, const char* list, std::size_t bound) {
  auto listed = read_list(list);
  std::vector<const Site*> untested;
  for (const Site& site : sites) {
    auto& rows = listed[key_of(site)];
    const bool tested = !rows.empty() && rows.front();
    if (!rows.empty()) rows.pop_front();
    if (site.is_users() && !tested) untested.push_back(&site);
  }
  fmt::print("{} of the messages that users can provoke have no test in {}; the bound is {}\n",
             untested.size(), list, bound);
  if (untested.size() <= bound) return 0;
  for (const Site* site : untested) fmt::print("{}:{}: {}\n", site->file, site->first_line, site->pattern());
  fmt::print(
      "Test the new ones and run python-free-tests/system/messages/collect, which makes the list again.\n");
  return 1;
}

}  // namespace
}  // namespace bunchtrain::messages

int main(int argc, char** argv) {
  using namespace bunchtrain::messages;
  const std::string command = argc > 2 ? argv[1] : "";
  if (command == "table" && argc == 4) {
    print_table(list_sites(argv[2]), read_traces(argv[3]));
    return 0;
  }
  if (command == "check" && argc == 5)
    return check(list_sites(argv[2]), argv[3], static_cast<std::size_t>(std::stoul(argv[4])));
  fmt::print(stderr, "error_messages table SOURCE TRACES | error_messages check SOURCE LIST BOUND\n");
  return 2;
}
