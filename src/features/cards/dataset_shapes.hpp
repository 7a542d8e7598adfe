// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Small questions about the datasets of a file, for judging cards.

#include <span>
#include <string>

#include "bunchtrain/features/recognition.hpp"

namespace bunchtrain::features::detail {

bool is_number(ElementKind kind) noexcept;
/// nullptr if there is no such dataset.
const DatasetShape* find_dataset(std::span<const DatasetShape> datasets, const std::string& name);
/// "ECAL has shape [4000, 25, 25, 25]".
std::string shape_text(const DatasetShape& dataset);

}  // namespace bunchtrain::features::detail
