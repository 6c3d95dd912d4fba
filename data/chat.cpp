#include "data/chat.h"

namespace spt {

TokenUsage estimate_tokens(const ChatPrompt& prompt, int64_t answer_words) {
  size_t bytes = prompt.system.size() + 16;
  for (const std::string& turn : prompt.turns) bytes += turn.size() + 16;
  return {static_cast<int64_t>(bytes / 4), answer_words * 4 / 3};
}

}  // namespace spt
