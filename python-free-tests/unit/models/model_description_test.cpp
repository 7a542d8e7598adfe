// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/model_description.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"

namespace bunchtrain::models {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

template <class F>
std::string message_of(F&& call) {
  try {
    call();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(ModelDescriptionTest, ReadsBackWhatWasSetToTheBit) {
  const double third = 1.0 / 3, tiny = std::numeric_limits<double>::denorm_min();
  ModelDescription block("block");
  block.set("k", 5).set("channels", std::vector<std::int64_t>{1, 2});
  const ModelDescription description = ModelDescription("net")
                                           .set("depth", std::numeric_limits<std::int64_t>::min())
                                           .set("seed", std::numeric_limits<std::uint64_t>::max())
                                           .set("third", third)
                                           .set("tiny", tiny)
                                           .set("on", true)
                                           .set("word", "a \"quoted\" \n text, \xc3\xa4")
                                           .set("blocks", std::vector{block, block});
  const std::string text = description.to_json();
  EXPECT_EQ(text.find('\n'), std::string::npos);
  const ModelDescription read = ModelDescription::parse(text);
  EXPECT_EQ(read.to_json(), text);
  EXPECT_EQ(read.name(), "net");
  EXPECT_EQ(read.integer("depth", 0), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(read.unsigned_integer("seed", 0), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(read.real("third", 0), third);
  EXPECT_EQ(read.real("tiny", 0), tiny);
  EXPECT_TRUE(read.flag("on", false));
  EXPECT_EQ(read.text("word", ""), "a \"quoted\" \n text, \xc3\xa4");
  int blocks = 0;
  read.for_each("blocks", [&](const ModelDescription& object) {
    EXPECT_EQ(object.integer("k", 0), 5);
    EXPECT_THAT(object.integers("channels", {}), ElementsAre(1, 2));
    ++blocks;
  });
  EXPECT_EQ(blocks, 2);
  read.require_known_fields();
}

TEST(ModelDescriptionTest, WhatIsLeftOutIsTheDefault) {
  const ModelDescription description("net");
  EXPECT_EQ(description.integer("a", 3), 3);
  EXPECT_EQ(description.real("b", 0.5), 0.5);
  EXPECT_TRUE(description.flag("c", true));
  EXPECT_EQ(description.text("d", "x", {"x", "y"}), "x");
  EXPECT_THAT(description.integers("e", {1}), ElementsAre(1));
  description.for_each("f", [](const ModelDescription&) { FAIL(); });
  EXPECT_FALSE(description.has("a"));
  EXPECT_EQ(description.to_json(), R"({"model": "net"})");
}

TEST(ModelDescriptionTest, AWrongTypeIsNamedWithWhatIsAllowed) {
  const ModelDescription wrong =
      ModelDescription::parse(R"({"model": "net", "x": "word", "big": 1e30, "list": [1, "a"]})");
  EXPECT_THAT(message_of([&] { wrong.integer("x", 0); }),
              AllOf(HasSubstr("model 'net': x"), HasSubstr("\"word\""), HasSubstr("a whole number")));
  EXPECT_THAT(message_of([&] { wrong.integer("big", 0); }), HasSubstr("a whole number"));
  EXPECT_THAT(message_of([&] { wrong.unsigned_integer("x", 0); }), HasSubstr("a whole number from 0"));
  EXPECT_THAT(message_of([&] { wrong.real("x", 0); }), HasSubstr("a number"));
  EXPECT_THAT(message_of([&] { wrong.flag("x", false); }), HasSubstr("true or false"));
  EXPECT_THAT(message_of([&] { wrong.text("big", ""); }), HasSubstr("a text"));
  EXPECT_THAT(message_of([&] { wrong.text("x", "", {"one", "two"}); }), HasSubstr("one, two"));
  EXPECT_THAT(message_of([&] { wrong.integers("list", {}); }), HasSubstr("a list of whole numbers"));
  EXPECT_THAT(message_of([&] { wrong.for_each("list", [](const ModelDescription&) {}); }),
              HasSubstr("a list of objects"));
  EXPECT_THAT(message_of([&] { ModelDescription("net").set("x", std::numeric_limits<double>::infinity()); }),
              HasSubstr("a finite number"));
  EXPECT_THAT(message_of([&] { ModelDescription("net").set("x", "\xff"); }), HasSubstr("not UTF-8"));
}

TEST(ModelDescriptionTest, WhatNobodyAsksForIsFound) {
  const ModelDescription description =
      ModelDescription("net").set("depht", 3).set("offered", 1).may_ignore("offered");
  EXPECT_EQ(description.integer("depth", 2), 2);
  EXPECT_THAT(message_of([&] { description.require_known_fields(); }),
              AllOf(HasSubstr("model 'net' has no field 'depht' (given as 3)"), HasSubstr("it has depth"),
                    HasSubstr("is 'depth' meant?")));
}

TEST(ModelDescriptionTest, TextThatIsNoDescriptionIsRefused) {
  const std::string deep = R"({"model": "net", "x": )" + std::string(50, '[') + std::string(50, ']') + "}";
  const std::string long_text = R"({"model": "net", "x": ")" + std::string(2 << 20, 'x') + "\"}";
  struct Refusal {
    std::string text, reason;
  };
  for (const auto& [text, reason] :
       {Refusal{"{", "this is not JSON"}, Refusal{"{}", "\"model\" must be a text of one word"},
        Refusal{R"({"model": 3})", "\"model\" must be a text of one word"},
        Refusal{R"({"model": "two words"})", "\"model\" must be a text of one word"},
        Refusal{R"({"model": "net", "x": 1, "x": 2})", "'x' appears twice"},
        Refusal{R"({"model": "net", "x": 1e999})", "this is not JSON"}, Refusal{deep, "too deep a nesting"},
        Refusal{long_text, "bytes are too many"}, Refusal{" ", "it begins with no name"},
        Refusal{"net =3", "a field without value or name"}})
    EXPECT_THAT(message_of([&, text = text] { ModelDescription::parse(text); }), HasSubstr(reason))
        << text.substr(0, 80);
}

/// Any text parses or is refused, and what parsed is written so that it reads back.
TEST(ModelDescriptionTest, MutationsNeitherCrashNorEscape) {
  const std::vector<std::string> seeds = {
      R"({"model": "net", "depth": 3, "blocks": [{"k": 5, "channels": [1, 2]}], "on": true, "rate": 0.25, "t": "x"})",
      "net depth=3 rate=0.25 fusion=1 blocks=16:64,64,64"};
  int parsed = 0;
  for (const std::string& seed : seeds) {
    RandomSequence random(CounterRandom(5, seed.size()));
    for (int i = 0; i < 3000; ++i) {
      std::string text = seed;
      for (std::uint64_t edits = 1 + random.below(4); edits > 0; --edits) {
        const std::size_t place = random.below(text.size());
        if (random.below(3) == 0)
          text.insert(place, text.substr(place, 1 + random.below(12)));
        else
          text[place] = static_cast<char>(random.below(256));
      }
      try {
        const std::string once = ModelDescription::parse(text).to_json();
        EXPECT_EQ(ModelDescription::parse(once).to_json(), once);
        ++parsed;
      } catch (const ConfigError&) {
      }
    }
  }
  EXPECT_GT(parsed, 100);
}

}  // namespace
}  // namespace bunchtrain::models
