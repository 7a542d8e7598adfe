// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A result as bytes, to be sent from the rank that computed it to the others.

#include <string>
#include <string_view>

#include "bunchtrain/metrics/classification.hpp"

namespace bunchtrain::metrics {

std::string to_bytes(const ClassificationResult& result);
/// @pre made by `to_bytes` of the same build
ClassificationResult from_bytes(std::string_view bytes);

}  // namespace bunchtrain::metrics
