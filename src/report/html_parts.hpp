// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The parts that every page is made of.

#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/report/section.hpp"
#include "figure.hpp"

namespace bunchtrain::report {

/// A whole document with style sheets, heading and footer around `body`. `title` and `subtitle` are texts,
/// `body` is markup.
std::string html_document(std::string_view title, std::string_view subtitle, const std::string& body);

/// A heading with content; nothing if there is no content.
std::string section_html(std::string_view heading, const std::string& content);

/// A table that scrolls on a narrow page; with `stacked` each row becomes a block there, its cells named by
/// their `data-label`. All are markup.
std::string table_html(const std::string& head, const std::string& rows, std::string_view stacked = {});

/// Figures beside each other; those without series are left out.
std::string figures_html(const std::vector<Figure>& figures);

/// A number that heads the page, with its label, in which "_B" is a subscript; nothing without a value.
std::string number_html(std::string_view label, std::string_view value, std::string_view unit = {});
/// The block of them; nothing if there are none.
std::string numbers_html(const std::string& numbers);
/// The numbers of all sections.
std::string section_numbers_html(const std::vector<Section>& sections);

/// Sections with all that they hold, but their numbers.
std::string sections_html(const std::vector<Section>& sections);

}  // namespace bunchtrain::report
