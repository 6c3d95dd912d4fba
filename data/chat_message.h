// The JSON of an OpenAI-compatible /chat/completions endpoint: requests written, responses read. No network here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "data/chat.h"

namespace spt {

// {"model", "messages", "temperature": 0, "max_tokens"}, merged with `extra` (RFC 7386: a null takes a key away).
std::string chat_request(const std::string& model, const ChatPrompt& prompt, int64_t max_new_tokens,
                         const nlohmann::json& extra);

// `text` as the `extra` of requests: a JSON object, empty for "". Throws BadInput naming `option`: not one, or with a
// key that is not the user's (model, messages, n, stream).
nlohmann::json parse_chat_extra(const char* option, const std::string& text);

struct ChatResponse {
  std::string text;  // the first choice's content, or its refusal
  std::optional<TokenUsage> usage;
  std::string fault;  // not empty: what is wrong with it ("HTML instead of JSON"); there is no text then
};
ChatResponse read_chat_response(const std::string& body);

struct ChatError {
  std::string message;  // one line: the server's own, or the beginning of the body
  std::string code;     // "content_filter"; empty where the server gives none
};
ChatError read_chat_error(const std::string& body);

}  // namespace spt
