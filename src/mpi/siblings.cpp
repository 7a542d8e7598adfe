// SPDX-License-Identifier: Apache-2.0
#include "siblings.hpp"

#include <unistd.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string_view>

namespace bunchtrain::mpi {
namespace {

constexpr std::array<std::string_view, 4> kRankVariables = {
    "OMPI_COMM_WORLD_RANK=", "PMIX_RANK=", "PMI_RANK=", "SLURM_PROCID="};

std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool is_stopped_sibling(const std::filesystem::path& process) {
  const std::string stat = content_of(process / "stat");
  const auto bracket = stat.rfind(')');
  if (bracket == std::string::npos) return false;
  std::istringstream fields(stat.substr(bracket + 1));
  char state = '?';
  pid_t parent = 0;
  fields >> state >> parent;
  return (state == 'T' || state == 't') && parent == ::getppid();
}

std::string rank_of(const std::filesystem::path& process) {
  const std::string environment = content_of(process / "environ");
  for (const std::string_view variable : kRankVariables) {
    for (std::size_t begin = 0; begin < environment.size();) {
      const std::size_t end = std::min(environment.find('\0', begin), environment.size());
      const std::string_view entry = std::string_view(environment).substr(begin, end - begin);
      if (entry.starts_with(variable)) return std::string(entry.substr(variable.size()));
      begin = end + 1;
    }
  }
  return {};
}

}  // namespace

std::string stopped_siblings() {
  std::string text;
  std::error_code unreadable;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", unreadable)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos || !is_stopped_sibling(entry.path()))
      continue;
    const std::string rank = rank_of(entry.path());
    if (rank.empty()) continue;
    text += (text.empty() ? "rank " : ", rank ") + rank + " (process " + name + " is stopped)";
  }
  return text;
}

}  // namespace bunchtrain::mpi
