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
  row.split = {.data = 1e-3, .forward = 2e-3, .backward = 3e-3, .communication = 4e-4, .optimizer = 5e-5};
  row.metrics = {{"valid_auc", 0.98}, {"valid_rejection_50", 330}};
  const auto back = parse_epoch_row(parse_record(to_json(make_record(row))));
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->epoch, 3);
  EXPECT_EQ(back->step, 300);
  EXPECT_EQ(back->train_loss, 0.25);
  EXPECT_TRUE(std::isnan(back->valid_loss));
  EXPECT_DOUBLE_EQ(back->split.total(), row.split.total());
  ASSERT_EQ(back->metrics.size(), 2u);
  EXPECT_EQ(back->metrics[1].name, "valid_rejection_50");
  EXPECT_EQ(back->metrics[1].value, 330);
}

TEST(EpochRowTest, IgnoresOtherKinds) {
  EXPECT_FALSE(parse_epoch_row({{"kind", "step"}, {"step", std::int64_t{1}}}).has_value());
}

}  // namespace
}  // namespace bunchtrain::report
