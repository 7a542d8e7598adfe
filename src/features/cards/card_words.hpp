// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What samples and their elements are called in cards and messages.

#include <string_view>

#include "bunchtrain/features/card.hpp"

namespace bunchtrain::features::detail {

/// Columns are called "jet.x" and "part.x" within the library, whatever a card calls them.
inline constexpr std::string_view kSamplePrefix = "jet.", kElementPrefix = "part.";

struct CardWords {
  std::string_view sample, element;                ///< "jet", "particle"
  std::string_view sample_prefix, element_prefix;  ///< of names in expressions
  std::string_view section;                        ///< the table that says which elements are real
  std::string_view sample_source, element_source;  ///< keys of [[read]]
  std::string_view selection;                      ///< the key in [select]
};

inline const CardWords& words_of(CardKind kind) noexcept {
  static constexpr CardWords kJets{.sample = "jet",
                                   .element = "particle",
                                   .sample_prefix = "jet.",
                                   .element_prefix = "part.",
                                   .section = "particles",
                                   .sample_source = "jet",
                                   .element_source = "part",
                                   .selection = "jets"};
  static constexpr CardWords kHits{.sample = "event",
                                   .element = "hit",
                                   .sample_prefix = "event.",
                                   .element_prefix = "hit.",
                                   .section = "hits",
                                   .sample_source = "event",
                                   .element_source = "hit",
                                   .selection = "events"};
  return kind == CardKind::hits ? kHits : kJets;
}

}  // namespace bunchtrain::features::detail
