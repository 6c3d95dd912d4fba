// What is put to a chat model and what comes back, be it an endpoint (data/chat_client) or the program's own generator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace spt {

struct ChatPrompt {
  size_t number = 0;  // the caller's, to know the answer by
  std::string system;
  std::vector<std::string> turns;  // user, assistant, …, user
};

struct TokenUsage {
  int64_t prompt = 0, completion = 0;
};

struct ChatAnswer {
  size_t number = 0;  // the prompt's
  std::string text;
  TokenUsage usage;
  std::string failure;  // not empty: no answer came, for this reason
};

// How work is handed to whatever answers: it takes the next prompt when it has room for one, and gives each answer back
// as it comes, in any order. Nothing from `NextPrompt` means none now; an answer may bring more. Work is over when
// there is none and no answer is outstanding.
using NextPrompt = std::function<std::optional<ChatPrompt>()>;
using TakeAnswer = std::function<void(const ChatAnswer&)>;

// A rough count before anything is asked: four bytes a token, and four tokens around each message.
TokenUsage estimate_tokens(const ChatPrompt& prompt, int64_t answer_words);

}  // namespace spt
