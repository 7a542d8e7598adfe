// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A result as bytes, so that the rank that computed it gives it to the others.

#include <string>
#include <string_view>

#include "bunchtrain/metrics/classification.hpp"
#include "bunchtrain/metrics/regression.hpp"

namespace bunchtrain::metrics {

std::string to_bytes(const ClassificationResult& result);
std::string to_bytes(const RegressionResult& result);
template <class Result>
Result from_bytes(std::string_view bytes);
template <>
ClassificationResult from_bytes(std::string_view bytes);
template <>
RegressionResult from_bytes(std::string_view bytes);

}  // namespace bunchtrain::metrics
