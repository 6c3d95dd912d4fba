#include "launch/endpoint_options.h"

#include <cmath>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "data/printable.h"

namespace spt {

void add_endpoint_options(CLI::App& command, EndpointOptions& options) {
  ChatEndpoint& endpoint = options.endpoint;
  command.add_option("--endpoint", endpoint.url,
                     "URL of an OpenAI-compatible endpoint, e.g. https://api.openai.com/v1");
  command.add_option("--model", endpoint.model, "the endpoint's name of the model");
  command.add_option("--key-file", options.key_file, "a file with the key, in place of the environment variable");
  command.add_option("--key-env", options.key_variable, "the environment variable with the key; \"\": send none")
      ->capture_default_str();
  command.add_option("--ca-file", endpoint.ca_file, "PEM file of the authorities to trust, in place of the system's");
  command.add_option("--concurrency", endpoint.concurrency, "requests in flight")->capture_default_str();
  command.add_option("--requests-per-minute", endpoint.requests_per_minute, "limit; 0: none")->capture_default_str();
  command.add_option("--tokens-per-minute", endpoint.tokens_per_minute, "limit; 0: none")->capture_default_str();
  command.add_option("--timeout", endpoint.timeout_s, "seconds for one answer")->capture_default_str();
  command.add_option("--connect-timeout", endpoint.connect_timeout_s, "seconds to connect")->capture_default_str();
  command.add_option("--tries", endpoint.tries, "of a request that fails")->capture_default_str();
  command.add_option("--retry-delay", endpoint.retry_delay_s, "seconds before the second try; then twice as long")
      ->capture_default_str();
  command.add_option("--request", endpoint.extra,
                     "JSON merged into each request; null takes a key away, e.g. "
                     "'{\"max_tokens\": null, \"max_completion_tokens\": 400}'");
  command.add_option("--price-in", options.prices.in, "of a million tokens of prompts, to show the cost");
  command.add_option("--price-out", options.prices.out, "of a million tokens of answers");
}

void check_prices(const Prices& prices) {
  for (const double price : {prices.in, prices.out})
    if (!(price >= 0 && std::isfinite(price))) throw BadInput(fmt::format("a price is {}, must be at least 0", price));
}

ChatEndpoint endpoint_with_key(const EndpointOptions& options, int64_t max_new_tokens) {
  ChatEndpoint endpoint = options.endpoint;
  if (endpoint.model.empty()) throw BadInput("--endpoint needs --model NAME: the endpoint's name of the model");
  endpoint.key = load_api_key(options.key_variable, options.key_file);
  endpoint.max_new_tokens = max_new_tokens;
  return endpoint;
}

std::string tokens_and_cost(const TokenUsage& usage, const Prices& prices) {
  std::string text = fmt::format("{} tokens in, {} out", usage.prompt, usage.completion);
  if (prices.in > 0 || prices.out > 0)
    text += fmt::format(
        ", cost {:.4f}",
        (prices.in * static_cast<double>(usage.prompt) + prices.out * static_cast<double>(usage.completion)) / 1e6);
  return text;
}

std::string prompt_text(int64_t number, const ChatPrompt& prompt) {
  std::string text = fmt::format("--- prompt {}\n[system]\n{}\n", number, prompt.system);
  for (size_t i = 0; i < prompt.turns.size(); ++i)
    text += fmt::format("[{}]\n{}\n", i % 2 == 0 ? "user" : "assistant", prompt.turns[i]);
  return printable(text);
}

ChatProgress::ChatProgress(int64_t done, int64_t total, const char* what, const Prices& prices)
    : total_(total), shown_(done), what_(what), prices_(prices), bar_(done, total) {}

void ChatProgress::show(int64_t done, const TokenUsage& usage) {
  const std::string remarks = tokens_and_cost(usage, prices_);
  if (ProgressBar::has_terminal()) {
    bar_.draw(done, remarks);
  } else if (done > shown_ && (done * 20 / total_ > shown_ * 20 / total_ || done == total_)) {
    spdlog::info("{}/{} {}  {}  ETA {}", done, total_, what_, remarks, bar_.time_left(done));
  }
  shown_ = done;
}

}  // namespace spt
