// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/app/flag_wording.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "bunchtrain/core/shell_word.hpp"

namespace bunchtrain::app {

std::string FlagWording::setting(std::string_view field, std::string_view value) const {
  std::string flag = "--" + std::string(field == "allow_plugins" ? "hdf5_plugins" : field);
  std::ranges::replace(flag, '_', '-');
  return value.empty() ? flag : fmt::format("{} {}", flag, value);
}

std::string FlagWording::advice(Advice advice, std::string_view file) const {
  const std::string word = shell_word(std::string(file));
  switch (advice) {
    case Advice::look_at_data:
      return "`bunchtrain inspect`";
    case Advice::draft_card:
      return fmt::format("bunchtrain inspect {} --write-card", word);
    case Advice::make_toy_jets:
      return fmt::format("bunchtrain generate jets --out {}", word);
    case Advice::compare_showers:
      return fmt::format("`bunchtrain validate showers --reference FILE --candidate {}`", word);
  }
  return {};
}

void speak_of_flags() noexcept {
  static const FlagWording wording;
  use_wording(&wording);
}

}  // namespace bunchtrain::app
