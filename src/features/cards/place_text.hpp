// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Places in a file as cards write them: `DATASET:member[begin:end]`.

#include <optional>
#include <string>
#include <string_view>

namespace bunchtrain::features::detail {

/// The parts of a place. Names between single quotes are taken as they stand ('' is one quote), so that they
/// may hold colons and brackets: `'jets:v2':'pt[0]'[0:4]`. "/a//b" is "a/b", as it is for HDF5.
struct PlaceText {
  std::string dataset;
  bool group = false;                                  ///< `NAME/*`: `dataset` is the group's name
  std::string member = {};                             ///< empty = none
  std::optional<std::string> brackets = std::nullopt;  ///< what stands between the last [ and ]
};

/// @throws ConfigError naming the text and what is wrong with it.
PlaceText split_place(std::string_view text);

/// The name as `split_place` reads it back: in quotes if it must be.
std::string quote_name(std::string_view name);

}  // namespace bunchtrain::features::detail
