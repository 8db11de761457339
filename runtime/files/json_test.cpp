#include "runtime/files/json.h"

#include <gtest/gtest.h>

#include <limits>

#include "runtime/base/random.h"

namespace troupe {
namespace {

Json parsed(std::string_view text) {
  auto result = parse_json(text);
  const auto* error = std::get_if<JsonError>(&result);
  EXPECT_EQ(error, nullptr) << text << " " << (error != nullptr ? error->str() : "");
  return error != nullptr ? Json() : std::get<Json>(result);
}

std::string error_of(std::string_view text) {
  const auto result = parse_json(text);
  const auto* error = std::get_if<JsonError>(&result);
  return error != nullptr ? error->str() : "none";
}

TEST(Json, ReadsEveryKindOfValue) {
  EXPECT_EQ(parsed(" null "), Json());
  EXPECT_EQ(parsed("true"), Json(true));
  EXPECT_EQ(parsed("false"), Json(false));
  EXPECT_EQ(parsed("\t\"a\"\r\n"), Json("a"));
  EXPECT_EQ(parsed("[]"), Json(Json::Array{}));
  EXPECT_EQ(parsed("{}"), Json(Json::Object{}));
  EXPECT_EQ(parsed(R"([1, [2.5], {"b": null, "a": [true]}])"),
            Json(Json::Array{1, Json::Array{2.5}, Json::Object{{"b", nullptr}, {"a", Json::Array{true}}}}));
}

TEST(Json, KeepsIntegersExact) {
  EXPECT_EQ(parsed("9223372036854775807"), Json(std::numeric_limits<int64_t>::max()));
  EXPECT_EQ(parsed("-9223372036854775808"), Json(std::numeric_limits<int64_t>::min()));
  EXPECT_EQ(parsed("9223372036854775808"), Json(9223372036854775808.0));
  EXPECT_EQ(parsed("0"), Json(0));
  EXPECT_EQ(parsed("-0").str(), "-0.0");
  EXPECT_EQ(parsed("1.0"), Json(1.0));
  EXPECT_EQ(parsed("1e3"), Json(1000.0));
  EXPECT_EQ(parsed("-1.5E-3"), Json(-0.0015));
  EXPECT_EQ(parsed("10"), Json(10));
}

TEST(Json, ReadsEscapes) {
  EXPECT_EQ(parsed(R"("\"\\\/\b\f\n\r\tA\u00e9\u20ac\ud83d\ude00")"), Json("\"\\/\b\f\n\r\tA\u00e9\u20ac\U0001f600"));
  EXPECT_EQ(parsed("\"\u00e9\u20ac\U0001f600\""), Json("\u00e9\u20ac\U0001f600"));
  EXPECT_EQ(parsed(R"("a\u0000b")"), Json(std::string("a\0b", 3)));
}

TEST(Json, SaysWhereAndWhyATextIsRefused) {
  EXPECT_EQ(error_of(""), "at byte 0: a value is missing");
  EXPECT_EQ(error_of("  x"), "at byte 2: a value is missing");
  EXPECT_EQ(error_of("1 2"), "at byte 2: nothing may follow the value");
  EXPECT_EQ(error_of("01"), "at byte 1: nothing may follow the value");
  EXPECT_EQ(error_of("+1"), "at byte 0: a value is missing");
  EXPECT_EQ(error_of("-"), "at byte 1: a digit is missing");
  EXPECT_EQ(error_of("1."), "at byte 2: a digit is missing");
  EXPECT_EQ(error_of("1e+"), "at byte 3: a digit is missing");
  EXPECT_EQ(error_of("1e999"), "at byte 0: a number is out of range");
  EXPECT_EQ(error_of("NaN"), "at byte 0: a value is missing");
  EXPECT_EQ(error_of("[1,]"), "at byte 3: a value is missing");
  EXPECT_EQ(error_of("[1 2]"), "at byte 3: ',' or ']' is missing");
  EXPECT_EQ(error_of("[1"), "at byte 2: ',' or ']' is missing");
  EXPECT_EQ(error_of("{\"a\"}"), "at byte 4: ':' is missing");
  EXPECT_EQ(error_of("{a:1}"), "at byte 1: a name is missing");
  EXPECT_EQ(error_of("{\"a\":1,}"), "at byte 7: a name is missing");
  EXPECT_EQ(error_of("{\"a\":1"), "at byte 6: ',' or '}' is missing");
  EXPECT_EQ(error_of("{\"a\":1,\"a\":2}"), "at byte 7: the name 'a' comes twice");
  EXPECT_EQ(error_of("\"a"), "at byte 2: a text does not end");
  EXPECT_EQ(error_of("\"\n\""), "at byte 1: a control character in a text");
  EXPECT_EQ(error_of("\"\\x\""), "at byte 2: an unknown escape in a text");
  EXPECT_EQ(error_of("\"\\"), "at byte 2: an unknown escape in a text");
  EXPECT_EQ(error_of("\"\\u12g4\""), "at byte 3: four hex digits are missing");
  EXPECT_EQ(error_of("\"\\u12"), "at byte 3: four hex digits are missing");
  EXPECT_EQ(error_of("\"\\ud800\""), "at byte 7: half a surrogate pair in a text");
  EXPECT_EQ(error_of("\"\\ud800\\u0041\""), "at byte 13: half a surrogate pair in a text");
  EXPECT_EQ(error_of("\"\\udc00\""), "at byte 7: half a surrogate pair in a text");
  EXPECT_EQ(error_of("\"\xff\""), "at byte 1: a text is not UTF-8");
  EXPECT_EQ(error_of("nulL"), "at byte 0: a value is missing");
}

TEST(Json, LimitsTheDepth) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + "0" + std::string(depth, ']'); };
  EXPECT_EQ(error_of(nested(kJsonDepth)), "none");
  EXPECT_EQ(error_of(nested(kJsonDepth + 1)), "at byte 65: more than 64 values inside one another");
  EXPECT_EQ(error_of(std::string(1'000'000, '[')), "at byte 65: more than 64 values inside one another");
}

TEST(Json, TellsUtf8FromOtherBytes) {
  EXPECT_TRUE(is_utf8("plain \u00e9 \u20ac \U0001f600 \xef\xbf\xbf"));
  for (const char* bad : {"\x80", "\xc0\x80", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xe2\x82", "\xf0\x80\x80\x80",
                          "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
    EXPECT_FALSE(is_utf8(bad)) << bad;
  }
}

TEST(Json, WritesShortAndReadsItBack) {
  const Json json = Json::Object{{"a", Json::Array{1, -2, 2.0, 0.1, 1e300, true, false, nullptr}},
                                 {"quote \" and \\ and \n and \x01", "\u00e9"},
                                 {"", Json::Object{}}};
  EXPECT_EQ(json.str(),
            "{\"a\":[1,-2,2.0,0.1,1e+300,true,false,null],\"quote \\\" and \\\\ and \\u000a and "
            "\\u0001\":\"\u00e9\","
            "\"\":{}}");
  EXPECT_EQ(parsed(json.str()), json);
}

TEST(Json, FindsMembersByName) {
  const Json json = parsed(R"({"a":1,"b":"x"})");
  ASSERT_NE(json.find("b"), nullptr);
  EXPECT_EQ(*json.find("b")->as<std::string>(), "x");
  EXPECT_EQ(json.find("c"), nullptr);
  EXPECT_EQ(Json(1).find("a"), nullptr);
  EXPECT_EQ(json.find("a")->as<double>(), nullptr);
}

Json random_json(Random& random, int depth) {
  switch (random.below(depth > 0 ? 7 : 5)) {
    case 0:
      return nullptr;
    case 1:
      return random.chance(0.5);
    case 2:
      return static_cast<int64_t>(random.next());
    case 3:
      return random.uniform() * 1e10 - 5e9;
    case 4:
      return random.chance(0.5) ? "\u20ac\n" : "text";
    case 5: {
      Json::Array items;
      for (int64_t n = random.below(4); n > 0; --n) items.push_back(random_json(random, depth - 1));
      return items;
    }
    default: {
      Json::Object members;
      for (int64_t n = random.below(4); n > 0; --n) {
        members.emplace_back("m" + std::to_string(n), random_json(random, depth - 1));
      }
      return members;
    }
  }
}

TEST(Json, ReadsBackWhatItWrote) {
  Random random(1);
  for (int i = 0; i < 2'000; ++i) {
    const Json json = random_json(random, 5);
    ASSERT_EQ(parsed(json.str()), json) << json.str();
  }
}

TEST(Json, SurvivesDamagedTexts) {
  Random random(2);
  for (int i = 0; i < 20'000; ++i) {
    std::string text = random_json(random, 4).str();
    for (int64_t n = random.between(1, 3); n > 0; --n) {
      const auto at = static_cast<size_t>(random.below(static_cast<int64_t>(text.size())));
      text[at] = random.chance(0.5) ? "{}[]\",:\\0-1e."[random.below(14)] : static_cast<char>(random.below(256));
    }
    if (random.chance(0.3)) text.resize(static_cast<size_t>(random.below(static_cast<int64_t>(text.size()))));
    const auto result = parse_json(text);
    if (const auto* error = std::get_if<JsonError>(&result)) {
      ASSERT_LE(error->offset, text.size()) << text;
    } else {
      ASSERT_EQ(parsed(std::get<Json>(result).str()), std::get<Json>(result)) << text;
    }
  }
}

}  // namespace
}  // namespace troupe
