// SPDX-License-Identifier: Apache-2.0
// The program gpu_bench at small sizes on the CPU: every row is measured, and a line of JSON.
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace {

using nlohmann::json;

struct Output {
  std::vector<json> rows;
  int status = 0;
};

Output gpu_bench(const std::string& options) {
  const std::string command = BUNCHTRAIN_GPU_BENCH " --device cpu --small --seconds 0 " + options + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  char buffer[4096];
  for (std::size_t size = 0; (size = fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, size);
  Output output;
  output.status = pclose(pipe);
  for (std::size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const json line = json::parse(text.substr(begin, end - begin), nullptr, /*allow_exceptions=*/false);
    if (line.is_object()) output.rows.push_back(line);
  }
  return output;
}

TEST(GpuRowsTest, MeasuresEveryRow) {
  const Output output = gpu_bench("");
  EXPECT_EQ(output.status, 0);
  std::map<std::string, int> count, who;
  for (const json& row : output.rows) {
    ++count[row.at("row")];
    EXPECT_FALSE(row.contains("error")) << row;
    ASSERT_TRUE(row.contains("median_ms")) << row;
    EXPECT_GT(row.at("median_ms").get<double>(), 0) << row;
    EXPECT_LE(row.at("low_ms").get<double>(), row.at("median_ms").get<double>()) << row;
    EXPECT_GE(row.at("high_ms").get<double>(), row.at("median_ms").get<double>()) << row;
    EXPECT_EQ(row.at("repetitions"), 3) << row;
    EXPECT_GT(row.at("rate").get<double>(), 0) << row;
    EXPECT_TRUE(row.at("unit").get<std::string>().ends_with("/s")) << row;
    ++who[row.at("who")];
    EXPECT_EQ(row.contains("exposed_ms"), row.at("row") == "P4") << row;
  }
  const std::map<std::string, int> expected = {{"P1", 10},     {"P2", 3},  {"P3", 3}, {"P4", 2},
                                               {"P5", 4 + 16}, {"P6", 4},  {"P7", 4}, {"P8", 2},
                                               {"P9", 8},      {"P10", 2}, {"P12", 4}};
  EXPECT_EQ(count, expected);
  EXPECT_EQ(who["bunchtrain, captured"], 4);
  EXPECT_EQ(who["LibTorch's convolution"], 8);
}

TEST(GpuRowsTest, OnceCallsEachChosenCaseOnce) {
  const Output output = gpu_bench("--once --rows P1,P4 --precision float32");
  EXPECT_EQ(output.status, 0);
  ASSERT_EQ(output.rows.size(), 5U + 2);
  for (const json& row : output.rows) {
    EXPECT_EQ(row.at("repetitions"), 1) << row;
    EXPECT_EQ(row.at("precision"), "float32") << row;
  }
}

TEST(GpuRowsTest, PaddedJetsAreARowOfTheirOwn) {
  const auto only_case = [](const std::string& real) {
    const Output output =
        gpu_bench("--once --rows P1 --precision float32 --case 'step, 8 jets' --real " + real);
    EXPECT_EQ(output.status, 0);
    return output.rows.size() == 1 ? output.rows[0].at("case").get<std::string>() : "";
  };
  EXPECT_EQ(only_case("12"), "ParticleNet training step, 8 jets of 32 particles, 12 of them real");
  EXPECT_EQ(only_case("5,70,9"),
            "ParticleNet training step, 8 jets of 32 particles, 16.1 of them real on average");
}

TEST(GpuRowsTest, RefusesARowThatIsNotThere) {
  const Output output = gpu_bench("--rows P99");
  EXPECT_NE(output.status, 0);
  EXPECT_TRUE(output.rows.empty());
}

}  // namespace
