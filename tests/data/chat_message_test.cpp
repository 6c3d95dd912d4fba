#include "data/chat_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace spt {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::SizeIs;

TEST(ChatRequest, TurnsAlternateAfterTheSystemText) {
  ChatPrompt prompt;
  prompt.system = "s";
  prompt.turns = {"q", "a", "again"};
  const json request = json::parse(chat_request("m", prompt, 9, json::object()));
  EXPECT_EQ(request, json::parse(R"({"model": "m", "temperature": 0, "max_tokens": 9, "messages": [
      {"role": "system", "content": "s"}, {"role": "user", "content": "q"},
      {"role": "assistant", "content": "a"}, {"role": "user", "content": "again"}]})"));
  prompt.system = "";
  EXPECT_THAT(json::parse(chat_request("m", prompt, 9, json::object()))["messages"], SizeIs(3));
}

TEST(ChatRequest, ExtraReplacesAndTakesAway) {
  ChatPrompt prompt;
  prompt.turns = {"q"};
  const json extra = parse_chat_extra("--request", R"({"max_tokens": null, "seed": 1})");
  const json request = json::parse(chat_request("m", prompt, 9, extra));
  EXPECT_FALSE(request.contains("max_tokens"));
  EXPECT_EQ(request["seed"], 1);
}

TEST(ChatExtra, WhatIsNoObjectOrNotTheUsersIsRefused) {
  EXPECT_EQ(parse_chat_extra("--request", ""), json::object());
  for (const char* text : {"{", "[]", "1", R"({"messages": []})", R"({"stream": true})", R"({"n": 2})"})
    EXPECT_THROW(parse_chat_extra("--request", text), BadInput) << text;
}

TEST(ChatResponse, TextAndUsageAreRead) {
  const ChatResponse response = read_chat_response(
      R"({"choices": [{"message": {"content": "hi"}}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})");
  EXPECT_EQ(response.text, "hi");
  EXPECT_EQ(response.fault, "");
  EXPECT_EQ(response.usage->prompt, 3);
  EXPECT_EQ(response.usage->completion, 2);
  EXPECT_FALSE(read_chat_response(R"({"choices": [{"message": {"content": "hi"}}]})").usage);
}

TEST(ChatResponse, ARefusalIsItsText) {
  EXPECT_EQ(read_chat_response(R"({"choices": [{"message": {"content": null, "refusal": "no"}}]})").text, "no");
}

TEST(ChatResponse, WhatIsNoAnswerSaysWhy) {
  const auto fault = [](const char* body) { return read_chat_response(body).fault; };
  EXPECT_EQ(fault(" <html>"), "HTML instead of JSON");
  EXPECT_EQ(fault(""), "an empty response");
  EXPECT_THAT(fault(R"({"choices": [)"), HasSubstr("invalid JSON"));
  EXPECT_THAT(fault("[]"), HasSubstr("invalid JSON"));
  EXPECT_EQ(fault(R"({"choices": []})"), "a response without choices");
  EXPECT_EQ(fault(R"({"choices": 1})"), "a response without choices");
  EXPECT_EQ(fault(R"({"choices": [{}]})"), "an empty choice");
  EXPECT_EQ(fault(R"({"choices": [{"message": {"content": ""}, "finish_reason": "length"}]})"),
            "an empty choice (finish_reason length)");
  EXPECT_EQ(fault(R"({"error": {"message": "busy"}})"), "busy");
}

TEST(ChatError, TheServersMessageAndCodeAreFound) {
  EXPECT_EQ(read_chat_error(R"({"error": {"message": "a\nb", "code": "c"}})").message, "a b");
  EXPECT_EQ(read_chat_error(R"({"error": {"message": "a", "code": "c"}})").code, "c");
  EXPECT_EQ(read_chat_error(R"({"error": "text"})").message, "text");
  EXPECT_EQ(read_chat_error(R"({"detail": "text"})").message, "text");
  EXPECT_EQ(read_chat_error("plain").message, "plain");
  EXPECT_EQ(read_chat_error("<html>").message, "an HTML page");
  EXPECT_EQ(read_chat_error("").message, "no message");
}

TEST(ChatError, ALongMessageIsCutBetweenCharacters) {
  std::string body;
  for (int i = 0; i < 200; ++i) body += "ää";
  EXPECT_EQ(read_chat_error(body).message, body.substr(0, 300) + "…");
}

}  // namespace
}  // namespace spt
