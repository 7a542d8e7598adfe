// SPDX-License-Identifier: Apache-2.0
// Files of hits that cannot be: what is wrong is named with file, dataset and row.
#include <gmock/gmock.h>

#include <cmath>

#include "hit_file_fixture.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST_F(HitDatasetTest, SplitsThatCannotBeAreNamedWithFileDatasetAndRow) {
  const Events events;
  const auto with_splits = [&](Numbers splits) {
    return refusal({.files = {write({{"hits", events.hits()},
                                     {"kind", events.kinds()},
                                     {"number", events.numbers()},
                                     {"splits", as_tensor(splits)}})},
                    .card = write_card(kCsr)});
  };
  Numbers splits = running_sums(events.counts);
  std::swap(splits[3], splits[4]);
  EXPECT_THAT(with_splits(splits),
              AllOf(HasSubstr("events.h5, dataset 'splits'"), HasSubstr("descend at sample 3: from 9 to 8"),
                    HasSubstr("running sums")));
  splits = running_sums(events.counts);
  splits.front() = 2;
  EXPECT_THAT(with_splits(splits),
              AllOf(HasSubstr("dataset 'splits'"), HasSubstr("begin at 2, they must at 0")));
  splits = running_sums(events.counts);
  splits.back() -= 1;
  EXPECT_THAT(with_splits(splits),
              AllOf(HasSubstr("dataset 'hits': has 37 rows"), HasSubstr("dataset 'splits' gives samples 36"),
                    HasSubstr("would be lost")));
  splits.back() += 3;
  EXPECT_THAT(with_splits(splits), AllOf(HasSubstr("gives samples 39"), HasSubstr("ends early")));
  splits.pop_back();
  EXPECT_THAT(with_splits(splits),
              AllOf(HasSubstr("dataset 'number': has 12 rows"), HasSubstr("tells of 11 events")));
  splits = running_sums(events.counts);
  splits[12] = std::int64_t{1} << 40;
  EXPECT_THAT(with_splits(splits),
              AllOf(HasSubstr("sample 11 has 1099511627740 elements"), HasSubstr("2147483647")));
  EXPECT_THAT(
      refusal({.files = {write_csr()}, .card = write_card("type = \"csr\"\ncounts = \"number\"\n")}),
      AllOf(HasSubstr("dataset 'hits': has 37 rows"), HasSubstr("dataset 'number' gives samples 318")));
  EXPECT_THAT(
      refusal({.files = {write_csr()}, .card = write_card("type = \"csr\"\nrow_splits = \"split\"\n")}),
      AllOf(HasSubstr("has no dataset 'split'"), HasSubstr("present: hits, kind, number, splits")));
  EXPECT_THAT(
      refusal({.files = {write_csr()}, .card = write_card("type = \"csr\"\nrow_splits = \"hits\"\n")}),
      HasSubstr("needs one number per row"));
}

TEST_F(HitDatasetTest, OtherLayoutsThatCannotBe) {
  const Events events;
  const at::Tensor hits = events.hits(), kinds = events.kinds();
  at::Tensor of = events.numbers_of_hits().clone();
  const auto flat = [&](const at::Tensor& numbers) {
    return refusal({.files = {write({{"hits", hits}, {"kind", kinds}, {"number", numbers}, {"of", of}})},
                    .card = write_card("type = \"flat\"\nevent = \"of\"\nevents = \"number\"\n")});
  };
  EXPECT_EQ(flat(events.numbers()), "no exception");
  EXPECT_THAT(flat(events.numbers().flip(0)),
              AllOf(HasSubstr("dataset 'number': event numbers descend at row 1, from 43 to 40"),
                    HasSubstr("sorted")));
  EXPECT_THAT(flat(events.numbers().add(1)), AllOf(HasSubstr("dataset 'of': row 0 is of event 10"),
                                                   HasSubstr("not in"), HasSubstr("dataset 'number'")));
  of[4] = 10;
  EXPECT_THAT(flat(events.numbers()),
              AllOf(HasSubstr("dataset 'of': event numbers descend at row 4, from 16 to 10"),
                    HasSubstr("sort the rows")));
  Numbers counts = events.counts;
  const auto padded = [&] {
    return refusal({.files = {write({{"hits", events.padded(hits, 9)},
                                     {"kind", events.padded(kinds, 9).unsqueeze(2)},
                                     {"number", events.numbers()},
                                     {"n", as_tensor(counts)}})},
                    .card = write_card("type = \"padded\"\ncounts = \"n\"\n")});
  };
  counts[5] = 10;
  EXPECT_THAT(padded(), AllOf(HasSubstr("dataset 'n': row 5 counts 10 elements"), HasSubstr("dataset 'hits'"),
                              HasSubstr("room for 9")));
  counts[5] = -1;
  EXPECT_THAT(padded(), HasSubstr("dataset 'n': row 5 counts -1 elements"));
}

TEST_F(HitDatasetTest, DatasetsOfDifferentLengthsAndOddValues) {
  const Events events;
  const auto with = [&](const at::Tensor& hits, const at::Tensor& kinds, const at::Tensor& numbers) {
    return refusal({.files = {write({{"hits", hits},
                                     {"kind", kinds},
                                     {"number", numbers},
                                     {"splits", as_tensor(running_sums(events.counts))}})},
                    .card = write_card(kCsr)});
  };
  EXPECT_THAT(
      with(events.hits(), events.kinds().slice(0, 1), events.numbers()),
      AllOf(HasSubstr("dataset 'kind': has 36 rows"), HasSubstr("dataset 'splits' gives samples 37")));
  EXPECT_THAT(with(events.hits(), events.kinds(), events.numbers().slice(0, 1)),
              AllOf(HasSubstr("dataset 'number': has 11 rows"), HasSubstr("one row per event")));
  at::Tensor kinds = events.kinds().clone();
  kinds[9] = 4;
  EXPECT_THAT(with(events.hits(), kinds, events.numbers()),
              AllOf(HasSubstr("4 (1 values, the first: "), HasSubstr("events.h5, row 5, hit 0"),
                    HasSubstr("[\"other\", 4]")));
  at::Tensor hits = events.hits().clone();
  hits[10][1] = std::nan("");
  EXPECT_THAT(
      with(hits, events.kinds(), events.numbers()),
      AllOf(HasSubstr("row 5, hit 1: hit.x is NaN"), HasSubstr("under [hits] of the card:\n  nan = 0.0")));
}

TEST_F(HitDatasetTest, WhatTellsEventsApartMustBeWholeNumbersThatAreThere) {
  const Events events;
  const auto splits_of = [&](const at::Tensor& splits) {
    return refusal({.files = {write({{"hits", events.hits()},
                                     {"kind", events.kinds()},
                                     {"number", events.numbers()},
                                     {"splits", splits}})},
                    .card = write_card(kCsr)});
  };
  EXPECT_THAT(splits_of(at::tensor({0.0, 1.5})), HasSubstr("row 1 is 1.5, no whole number"));
  EXPECT_THAT(splits_of(at::empty({0}, at::kLong)),
              HasSubstr("row splits have one number more than there are"));
  EXPECT_THAT(refusal({.files = {write_csr()},
                       .card = write_card("type = \"csr\"\nrow_splits = \"splits:first\"\n")}),
              HasSubstr("has no member 'first', which [layout] of card"));
}

TEST_F(HitDatasetTest, WeightsAndTargetsOfHitsMustBeNumbers) {
  Events events;
  at::Tensor hits = events.hits();
  hits[4][1] = -1.0;
  const std::string file = write({{"hits", hits},
                                  {"kind", events.kinds()},
                                  {"number", events.numbers()},
                                  {"splits", as_tensor(running_sums(events.counts))}});
  EXPECT_THAT(refusal({.files = {file}, .card = write_card(kCsr, "[weights]\nsample = \"hit.x\"\n")}),
              HasSubstr("weights of hits are finite and not negative"));
  EXPECT_THAT(refusal({.files = {file},
                       .card = write_card(kCsr, "[targets]\nroot = \"log(hit.x + 1)\"\n"),
                       .targets = {"root"}}),
              HasSubstr("leave such hits out by mask under [hits]"));
}

TEST_F(HitDatasetTest, ADatasetIsOfHitsOrOfEvents) {
  constexpr std::string_view kBoth = R"toml(
[[read.hit]]
from = "hits"
columns = ["energy", "x"]
[[read.event]]
from = "hits"
columns = ["first", "second"]
[inputs]
features = ["hit.energy"]
[output]
observers = ["event.first"]
)toml";
  EXPECT_THAT(refusal({.files = {write_csr()}, .card = write_card(kCsr, "", kBoth)}),
              HasSubstr("has one row per hit, and card"));
}

TEST_F(HitDatasetTest, CardsThatContradictThemselvesAreRefused) {
  EXPECT_THAT(refusal({.files = {write_csr()},
                       .card = write_card("type = \"flat\"\nevent = \"of\"\nrow_splits = \"splits\"\n")}),
              HasSubstr("only in a layout of type \"csr\""));
  EXPECT_THAT(refusal({.files = {write_csr()},
                       .card = write_card("type = \"flat\"\nevent = \"of\"\ncounts = \"n\"\n")}),
              HasSubstr("only in a layout of type \"csr\" or \"padded\""));
}

}  // namespace
}  // namespace bunchtrain::data
