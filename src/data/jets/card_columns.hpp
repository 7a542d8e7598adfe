// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Finds the columns of a data card in the datasets of a file.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "bunchtrain/features/card.hpp"
#include "storage/dataset_layout.hpp"
#include "storage/element_type.hpp"

namespace bunchtrain::data {

/// "part.pt": a column of a kind.
struct ColumnName {
  bool per_particle;
  std::string name;
};
ColumnName split_name(const std::string& full);

/// Whether a source names the column. Compounds and groups may list none: any of their members may be meant.
bool may_have(const features::ReadSource& source, const ColumnName& column);
/// What one column of a source is read from: of a group, the dataset of that name.
features::ReadSource place_of_column(const features::ReadSource& source, const std::string& column);

/// Where `column` of `source` lies in the rows of a dataset, which `source.dataset` names.
/// @return nothing if the source does not have that column, or the dataset not that member. @throws
/// DataError if rank, type or number of columns are not what the card says. @param where for
/// messages: "FILE, dataset 'NAME'". @param row what a row of the dataset is
std::optional<ColumnLayout> find_column(const features::ReadSource& source, std::string_view column,
                                        const DatasetLayout& dataset, const std::string& where,
                                        std::string_view row = "jet");

/// Why a dataset does not have the member that a source wants for `column`: "dataset 'jets' (members a, b;
/// did you mean 'a'?)", for messages.
std::string describe_members(const DatasetLayout& dataset, const features::ReadSource& source,
                             std::string_view column);

}  // namespace bunchtrain::data
