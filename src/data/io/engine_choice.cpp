// SPDX-License-Identifier: Apache-2.0
#include "engine_choice.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "cufile_engine.hpp"
#include "uring_engine.hpp"

namespace bunchtrain::data {
namespace {

struct Named {
  IoEngine engine;
  std::string_view name;
};
constexpr std::array kNames = {Named{IoEngine::automatic, "auto"}, Named{IoEngine::pread, "pread"},
                               Named{IoEngine::io_uring, "io_uring"}, Named{IoEngine::cufile, "cufile"},
                               Named{IoEngine::hdf5, "hdf5"}};

}  // namespace

std::string_view to_string(IoEngine engine) noexcept {
  return std::ranges::find(kNames, engine, &Named::engine)->name;
}

IoEngine parse_io_engine(std::string_view text) {
  const auto found = std::ranges::find(kNames, text, &Named::name);
  if (found != kNames.end()) return found->engine;
  std::vector<std::string_view> names;
  for (const Named& named : kNames) names.push_back(named.name);
  throw ConfigError("io", std::string(text), fmt::format("{}", fmt::join(names, ", ")));
}

namespace io {
namespace {

constexpr std::uint64_t kUnknown = std::numeric_limits<std::uint64_t>::max();

/// The number behind `name` in a file of the kernel's, in its own unit.
std::uint64_t number_in(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string word; file >> word;)
    if (std::uint64_t number = 0; word == name && file >> number) return number;
  return kUnknown;
}

std::uint64_t number_in(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  return file >> number ? number : kUnknown;  // "max": no limit
}

/// What the limit of the process's control group leaves to it: pages of files count as used there, but can go.
std::uint64_t free_in_group() {
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line) && !line.starts_with("0::")) continue;
  if (!line.starts_with("0::")) return kUnknown;
  const std::string folder = "/sys/fs/cgroup" + line.substr(3);
  const std::uint64_t limit = number_in(folder + "/memory.max");
  const std::uint64_t used = number_in(folder + "/memory.current");
  const std::uint64_t of_files = number_in(folder + "/memory.stat", "file");
  if (limit == kUnknown || used == kUnknown || of_files == kUnknown) return kUnknown;
  return limit - std::min(limit, used - std::min(used, of_files));
}

std::string gigabytes(std::uint64_t bytes) {
  return fmt::format("{:.3g} GB", static_cast<double>(bytes) / 1e9);
}

std::string_view bound_of(std::span<const std::string> ways) {
  const auto any = [&](std::string_view part) {
    return std::ranges::any_of(ways,
                               [&](const std::string& way) { return way.find(part) != std::string::npos; });
  };
  if (any("H5Dread")) return "bound by HDF5's lock: one thread at a time";
  return any("own ") ? "bound by decoding" : "bound by storage";
}

}  // namespace

void add_probe(EngineChoice& choice, std::span<const std::filesystem::path> files) {
  const auto refuse = [&](const std::string& reason) {
    throw ConfigError(fmt::format("{} cannot be used for these files: {}; auto takes what can",
                                  setting("io", choice.engine->name()), reason));
  };
  const auto look_at = [&](const std::filesystem::path& file) {
    if (const std::string reason = choice.engine->why_not_file(file.string()); !reason.empty())
      refuse(reason);
  };
  std::error_code error;
  for (const auto& file : files) look_at(file);
  if (files.empty() || !std::filesystem::is_regular_file(files.front(), error)) return;
  const Probe found = probe(*choice.engine, files.front());
  look_at(files.front());  // what the library says shows when it reads
  if (!found.fault.empty()) refuse(found.fault);
  choice.reason += fmt::format(", {} per s where pread has {}",
                               gigabytes(static_cast<std::uint64_t>(found.bytes_per_second)),
                               gigabytes(static_cast<std::uint64_t>(found.pread_bytes_per_second)));
}

EngineChoice choose_engine(IoEngine wanted, const Request& request) {
  if (wanted != IoEngine::automatic) {
    const auto engine = std::ranges::find(all_engines(), wanted, &Engine::kind);
    if (const std::string reason = (*engine)->unavailable(); !reason.empty())
      throw ConfigError(fmt::format("{} cannot be used here: {}; auto takes what can",
                                    setting("io", to_string(wanted)), reason));
    return {.engine = *engine, .reason = "asked for"};
  }
  const auto best = std::ranges::max_element(all_engines(), {},
                                             [&](const Engine* engine) { return engine->score(request); });
  if (request.fits_in_memory())
    return {.engine = *best, .reason = fmt::format("{} fit in memory", gigabytes(request.data_bytes))};
  const std::string sizes = fmt::format("{} are too much for {} of memory", gigabytes(request.data_bytes),
                                        gigabytes(request.memory_bytes));
  const std::string uring = uring_engine().unavailable();
  return {.engine = *best,
          .reason = uring.empty() ? sizes : fmt::format("{}; no io_uring: {}", sizes, uring)};
}

EngineChoice choose_engine(IoEngine wanted, std::span<const std::filesystem::path> files) {
  Request request{.data_bytes = 0, .memory_bytes = free_memory_bytes()};
  for (const auto& file : files) {
    std::error_code error;
    const auto bytes = std::filesystem::file_size(file, error);
    if (!error) request.data_bytes += bytes;  // whoever opens it says what is wrong
  }
  EngineChoice choice = choose_engine(wanted, request);
  if (wanted == IoEngine::cufile) add_probe(choice, files);
  return choice;
}

std::uint64_t free_memory_bytes() {
  const std::uint64_t kib = number_in("/proc/meminfo", "MemAvailable:");
  const std::uint64_t machine = kib == kUnknown ? kUnknown : kib << 10;
  return std::min(machine, free_in_group());
}

std::string describe(const EngineChoice& choice, std::span<const std::string> ways) {
  return fmt::format("files: {} ({}), {}", choice.engine->name(), choice.reason, bound_of(ways));
}

}  // namespace io
}  // namespace bunchtrain::data
