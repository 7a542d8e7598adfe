// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The contests of this benchmark: each prints a table and returns its numbers.

#include <nlohmann/json.hpp>
#include <string>

namespace loader_benchmark {

nlohmann::json compare_jets(const std::string& data_folder, int threads, int repetitions);
nlohmann::json compare_showers(const std::string& data_folder, int threads, int repetitions);
/// Samples per second of an epoch in shuffled batches, and the mean of all features or cells.
nlohmann::json time_epoch(const std::string& kind, const std::string& file, int threads);

}  // namespace loader_benchmark
