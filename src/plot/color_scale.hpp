// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The colours of heat maps: classes whose colours the style sheet chooses for light and dark pages.

#include <string>

namespace bunchtrain::plot {

/// Odd, so that a diverging scale has a middle.
inline constexpr int kColorLevels = 65;

enum class ColorScale {
  sequential,  ///< from close to the page to far from it, equal steps of lightness
  diverging    ///< blue, the neutral middle, orange
};

/// "bt-s12": the class of a level, 0 to `kColorLevels` - 1.
std::string color_class(ColorScale scale, int level);

/// CSS of both scales. On dark paper the same colours run the other way: little is always close to the page.
std::string color_style_sheet();

}  // namespace bunchtrain::plot
