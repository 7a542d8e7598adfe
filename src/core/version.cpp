// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/version.hpp"

#include "build_values.hpp"  // written by CMake

namespace bunchtrain {

static_assert(kVersionMajor == detail::kProjectMajor && kVersionMinor == detail::kProjectMinor &&
                  kVersionPatch == detail::kProjectPatch,
              "version.hpp and project(VERSION) in CMakeLists.txt differ");

std::string version() {
  return std::to_string(kVersionMajor) + "." + std::to_string(kVersionMinor) + "." +
         std::to_string(kVersionPatch);
}

BuildInfo build_info() {
  return {.version = version(),
          .git_commit = detail::kGitCommit,
          .compiler = detail::kCompiler,
          .build_type = detail::kBuildType,
          .cuda = detail::kCuda};
}

}  // namespace bunchtrain
