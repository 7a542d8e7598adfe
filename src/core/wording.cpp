// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/wording.hpp"

#include <atomic>
#include <string>

namespace bunchtrain {
namespace {

const Wording kOfLibrary;
std::atomic<const Wording*> in_use = &kOfLibrary;

}  // namespace

std::string Wording::setting(std::string_view field, std::string_view value) const {
  std::string text(field);
  if (!value.empty()) text.append(" = ").append(value);
  return text;
}

std::string Wording::advice(Advice advice, std::string_view) const {
  switch (advice) {
    case Advice::look_at_data:
      return "data::list_contents";
    case Advice::draft_card:
      return "features::draft_card";
    case Advice::make_toy_jets:
      return "simulate::write_toy_jets";
    case Advice::compare_showers:
      return "the task of shower comparison";
  }
  return {};
}

void use_wording(const Wording* wording) noexcept { in_use = wording != nullptr ? wording : &kOfLibrary; }

std::string setting(std::string_view field, std::string_view value) {
  return in_use.load()->setting(field, value);
}

std::string way_to(Advice advice, std::string_view file) { return in_use.load()->advice(advice, file); }

}  // namespace bunchtrain
