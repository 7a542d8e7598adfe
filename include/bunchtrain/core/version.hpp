// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Version of bunchtrain and what it was built with.

#include <string>

namespace bunchtrain {

inline constexpr int kVersionMajor = 0;
inline constexpr int kVersionMinor = 1;
inline constexpr int kVersionPatch = 0;

/// "0.1.0".
std::string version();

/// What this library was compiled with, for run.json and `bunchtrain info`.
struct BuildInfo {
  std::string version;     ///< of bunchtrain
  std::string git_commit;  ///< short hash, "unknown" outside a checkout
  std::string compiler;    ///< "g++ 12.2.0"
  std::string build_type;  ///< "Release"
  bool cuda;               ///< whether the CUDA half was built
};
BuildInfo build_info();

}  // namespace bunchtrain
