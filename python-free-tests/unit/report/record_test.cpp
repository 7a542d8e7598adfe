// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/record.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/report/epoch_row.hpp"

namespace bunchtrain::report {
namespace {

TEST(RecordTest, KeepsOrderAndTypes) {
  const Record record{
      {"step", std::int64_t{7}}, {"loss", 0.1}, {"kind", "step"}, {"parts", std::vector<double>{1, 2.5}}};
  EXPECT_EQ(to_json(record), R"({"step":7,"loss":0.1,"kind":"step","parts":[1.0,2.5]})");
}

TEST(RecordTest, ReadsBackTheSameBits) {
  for (double value : {1.0 / 3.0, 1e-308, 6.02214076e23, 1.0, -0.0}) {
    const Record back = parse_record(to_json({{"x", value}}));
    EXPECT_EQ(std::get<double>(*find(back, "x")), value);
  }
}

TEST(RecordTest, WritesWhatIsNotFiniteAsNull) {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::string json =
      to_json({{"a", std::nan("")}, {"b", -infinity}, {"c", std::vector<double>{1, infinity}}});
  EXPECT_EQ(json, R"({"a":null,"b":null,"c":[1.0,null]})");
  const Record back = parse_record(json);
  EXPECT_TRUE(std::isnan(number(back, "a")));
  EXPECT_TRUE(std::isnan(std::get<std::vector<double>>(*find(back, "c"))[1]));
}

TEST(RecordTest, LeavesOutNestedObjects) {
  const Record record = parse_record(R"({"a": {"b": 1}, "c": 2, "d": ["x"]})");
  EXPECT_EQ(find(record, "a"), nullptr);
  EXPECT_EQ(find(record, "d"), nullptr);
  EXPECT_EQ(number(record, "c"), 2);
}

TEST(RecordTest, TextThatIsNotUtf8DoesNotStopTheWriter) {
  EXPECT_NO_THROW(parse_record(to_json({{"name", std::string("a\xff z")}})));
}

TEST(RecordTest, RefusesWhatIsNoObject) {
  for (const char* json : {"", "[1]", "{\"a\":", "nonsense"})
    EXPECT_THROW(parse_record(json), DataError) << json;
}

TEST(EpochRowTest, SurvivesTheFile) {
  EpochRow row{
      .epoch = 3, .epochs = 20, .step = 300, .seconds = 41.5, .train_loss = 0.25, .learning_rate = 1e-3};
  row.samples_per_second = 12345;
  row.split = {.data = 1e-3,
               .forward = 2e-3,
               .backward = 3e-3,
               .communication = 4e-4,
               .optimizer = 5e-5,
               .idle = 6e-4};
  row.metrics = {{"valid_auc", 0.98}, {"valid_rejection_50", 330}};
  row.loader = {.wait_p50 = 1e-4, .wait_p99 = 2e-3, .decode_p99 = 3e-3, .slowest_stage = "decoding"};
  row.bad_samples = 16;
  const auto back = parse_epoch_row(parse_record(to_json(make_record(row))));
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->epoch, 3);
  EXPECT_EQ(back->step, 300);
  EXPECT_EQ(back->train_loss, 0.25);
  EXPECT_TRUE(std::isnan(back->valid_loss));
  EXPECT_DOUBLE_EQ(back->split.total(), row.split.total());
  EXPECT_EQ(back->loader.wait_p99, 2e-3);
  EXPECT_EQ(back->loader.decode_p99, 3e-3);
  EXPECT_TRUE(std::isnan(back->loader.fetch_p50));
  EXPECT_EQ(back->loader.slowest_stage, "decoding");
  EXPECT_EQ(back->bad_samples, 16);
  ASSERT_EQ(back->metrics.size(), 2u);
  EXPECT_EQ(back->metrics[1].name, "valid_rejection_50");
  EXPECT_EQ(back->metrics[1].value, 330);
}

TEST(EpochRowTest, LossTermsAreFlatAndSurviveTheFile) {
  EpochRow row{.epoch = 1, .epochs = 2, .step = 10};
  row.losses = {{"discriminator_real", 0.7}, {"generator", 12.5}, {"generator_energy", std::nan("")}};
  row.metrics = {{"valid_score", 0.5}};
  const std::string json = to_json(make_record(row));
  EXPECT_THAT(json, testing::HasSubstr(R"("loss_discriminator_real":0.7,"loss_generator":12.5)"));
  const auto back = parse_epoch_row(parse_record(json));
  ASSERT_TRUE(back.has_value());
  ASSERT_EQ(back->losses.size(), 3u);
  EXPECT_EQ(back->losses[1].name, "generator");
  EXPECT_EQ(back->losses[1].value, 12.5);
  EXPECT_TRUE(std::isnan(back->losses[2].value));
  ASSERT_EQ(back->metrics.size(), 1u);
  EXPECT_EQ(back->metrics[0].name, "valid_score");
}

TEST(EpochRowTest, StepsHoldLossTermsUnderTheSameNames) {
  const Record record{
      {"kind", "step"}, {"step", std::int64_t{1}}, {"loss", 0.5}, {loss_key("generator_energy"), 0.25}};
  const auto losses = parse_losses(parse_record(to_json(record)));
  ASSERT_EQ(losses.size(), 1u);
  EXPECT_EQ(losses[0].name, "generator_energy");
  EXPECT_EQ(losses[0].value, 0.25);
}

TEST(EpochRowTest, IgnoresOtherKinds) {
  EXPECT_FALSE(parse_epoch_row({{"kind", "step"}, {"step", std::int64_t{1}}}).has_value());
}

}  // namespace
}  // namespace bunchtrain::report
