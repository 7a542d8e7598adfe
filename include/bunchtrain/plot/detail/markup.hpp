// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Text inside HTML and SVG.

#include <string>
#include <string_view>

namespace bunchtrain::plot {

/// Replaces the characters that mean something in HTML, attributes included.
std::string escape_markup(std::string_view text);

/// Escaped text for an SVG <text>, in which "p_T", "p_{T}", "10^{-3}" become sub- and superscripts.
std::string format_label(std::string_view text);

/// The same for HTML, with <sub> and <sup>.
std::string format_html_label(std::string_view text);
/// The same as plain text: "pT", "10-3".
std::string plain_label(std::string_view text);

/// Generous estimate of the width in pixels of a text in a sans-serif font, marks of
/// `format_label` not counted.
double estimate_width(std::string_view text, double font_size);

}  // namespace bunchtrain::plot
