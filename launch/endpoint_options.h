// What `annotate` and `judge` share of `--endpoint`: the options, what answers cost, and how far they are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <CLI/CLI.hpp>

#include "base/progress.h"
#include "data/chat.h"
#include "data/chat_endpoint.h"

namespace spt {

struct Prices {
  double in = 0, out = 0;  // of a million tokens; 0: not told
};

struct EndpointOptions {
  ChatEndpoint endpoint;
  std::string key_variable = "OPENAI_API_KEY";
  std::filesystem::path key_file;
  Prices prices;
};

void add_endpoint_options(CLI::App& command, EndpointOptions& options);
// Throws BadInput for a price that is none.
void check_prices(const Prices& prices);
// With its key, as ChatClient takes it. Throws BadInput: no --model; as load_api_key.
ChatEndpoint endpoint_with_key(const EndpointOptions& options, int64_t max_new_tokens);

// "900 tokens in, 150 out, cost 0.0090"
std::string tokens_and_cost(const TokenUsage& usage, const Prices& prices);

// One of the prompts that --dry-run shows, `number` from 1; it cannot speak to the terminal.
std::string prompt_text(int64_t number, const ChatPrompt& prompt);

// A bar on a terminal, else a line each twentieth of the work.
class ChatProgress {
 public:
  // Of `total` things that are called `what`, `done` were there before.
  ChatProgress(int64_t done, int64_t total, const char* what, const Prices& prices);
  void show(int64_t done, const TokenUsage& usage);

 private:
  int64_t total_, shown_;
  const char* what_;
  Prices prices_;
  ProgressBar bar_;
};

}  // namespace spt
