#include "data/chat_message.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/utf8.h"

namespace spt {
namespace {

using nlohmann::json;

constexpr size_t kShownBytes = 300;

// At most kShownBytes of it, on one line.
std::string shown(std::string text) {
  text = utf8_replace_invalid(text);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  if (text.size() <= kShownBytes) return text;
  size_t size = 0;
  while (size + utf8_length(std::string_view(text).substr(size)) <= kShownBytes)
    size += utf8_length(std::string_view(text).substr(size));
  return text.substr(0, size) + "…";
}

bool is_html(const std::string& body) {
  const size_t first = body.find_first_not_of(" \t\r\n");
  return first != std::string::npos && body[first] == '<';
}

// The text under `key`, where there is one.
std::string text_at(const json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
}

std::optional<TokenUsage> read_usage(const json& response) {
  const auto usage = response.find("usage");
  if (usage == response.end() || !usage->is_object()) return std::nullopt;
  const auto count = [&](const char* key) {
    const auto found = usage->find(key);
    return found != usage->end() && found->is_number_unsigned() ? found->get<int64_t>() : int64_t{0};
  };
  return TokenUsage{count("prompt_tokens"), count("completion_tokens")};
}

}  // namespace

std::string chat_request(const std::string& model, const ChatPrompt& prompt, int64_t max_new_tokens,
                         const json& extra) {
  json messages = json::array();
  if (!prompt.system.empty()) messages.push_back({{"role", "system"}, {"content", prompt.system}});
  for (size_t i = 0; i < prompt.turns.size(); ++i)
    messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", prompt.turns[i]}});
  json request{{"model", model}, {"messages", messages}, {"temperature", 0}, {"max_tokens", max_new_tokens}};
  request.merge_patch(extra);
  return request.dump();
}

json parse_chat_extra(const char* option, const std::string& text) {
  if (text.empty()) return json::object();
  json extra = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!extra.is_object())
    throw BadInput(fmt::format("{} is '{}', expected a JSON object, e.g. '{{\"seed\": 1}}'", option, text));
  for (const char* key : {"model", "messages", "n", "stream"})
    if (extra.contains(key)) throw BadInput(fmt::format("{}: \"{}\" cannot be set here", option, key));
  return extra;
}

ChatResponse read_chat_response(const std::string& body) {
  ChatResponse response;
  const json value = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded() || !value.is_object()) {
    response.fault = is_html(body)  ? "HTML instead of JSON"
                     : body.empty() ? "an empty response"
                                    : fmt::format("invalid JSON: {}", shown(body));
    return response;
  }
  if (value.contains("error") && !value["error"].is_null()) {
    response.fault = read_chat_error(body).message;
    return response;
  }
  response.usage = read_usage(value);
  const auto choices = value.find("choices");
  if (choices == value.end() || !choices->is_array() || choices->empty() || !(*choices)[0].is_object()) {
    response.fault = "a response without choices";
    return response;
  }
  const json& choice = (*choices)[0];
  const json message = choice.contains("message") ? choice["message"] : json();
  response.text = text_at(message, "content");
  if (response.text.empty()) response.text = text_at(message, "refusal");
  if (response.text.empty()) {
    const std::string reason = text_at(choice, "finish_reason");
    response.fault = reason.empty() ? "an empty choice" : fmt::format("an empty choice (finish_reason {})", reason);
  }
  return response;
}

ChatError read_chat_error(const std::string& body) {
  if (is_html(body)) return {"an HTML page", ""};
  const json value = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object()) return {body.empty() ? "no message" : shown(body), ""};
  // {"error": {"message", "code"}}, {"error": text}, {"message": text}, {"detail": text}
  const json error = value.contains("error") ? value["error"] : value;
  std::string message = error.is_string() ? error.get<std::string>() : text_at(error, "message");
  if (message.empty()) message = text_at(error, "detail");
  return {shown(message.empty() ? body : message), text_at(error, "code")};
}

}  // namespace spt
