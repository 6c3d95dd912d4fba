// A client of OpenAI-compatible /chat/completions endpoints: many requests in flight on one thread (curl multi). The
// only place that knows libcurl.
//
// Tried again, with exponential backoff and jitter: 408, 409, 425, 429, 5xx, time-outs, lost connections, and responses
// that are no answer (HTML, broken JSON, an empty choice). Retry-After is honoured and holds back all requests. What is
// still no answer after the last try is that prompt's failure, and work goes on; so is a request that the server's
// content filter or context length refuses. Any other refusal (401, 403, 404, 400, a redirect, an untrusted
// certificate) would be the same for all: it throws BadInput at once, with the server's own message.
//
// The key goes into the Authorization header of requests to this endpoint and nowhere else: redirects are not followed,
// plain http is for loopback only, and what the server sends has it blacked out before it is looked at.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "data/chat.h"

namespace spt {

struct ApiKey {
  std::string value;   // empty: none, no header is sent
  std::string origin;  // where it comes from or would: for messages
};
// From the file where one is given (white space around it does not count), else from the environment variable, else
// none. Throws BadInput, never showing the key: an unreadable or empty file, more than one word.
ApiKey load_api_key(const std::string& variable, const std::filesystem::path& file);

struct ChatEndpoint {
  std::string url;  // "https://api.openai.com/v1"; "/chat/completions" is put behind its path unless it is there
  std::string model;
  ApiKey key;
  std::filesystem::path ca_file;  // PEM, in place of the system's authorities; empty: the system's
  std::string extra;              // a JSON object merged into each request (data/chat_message.h)
  int64_t max_new_tokens = 256;
  int64_t concurrency = 8;  // requests in flight, those that wait for their next try counted
  double requests_per_minute = 0, tokens_per_minute = 0;  // evenly spaced, never above it; 0: no limit
  double connect_timeout_s = 10, timeout_s = 120;         // of one try
  int64_t tries = 6;
  double retry_delay_s = 1;  // before the second try; doubles each time, at most 60 s
};

class ChatClient {
 public:
  // Throws BadInput before anything is sent: a URL that is none, with a user in it, or plain http to another host with
  // a key; a missing ca_file; numbers out of range.
  explicit ChatClient(ChatEndpoint endpoint);
  ~ChatClient();
  ChatClient(const ChatClient&) = delete;
  ChatClient& operator=(const ChatClient&) = delete;

  // Until all work is done, or a stop is requested (base/stop.h): then requests in flight are dropped. Throws BadInput
  // as said above, and Failure when the endpoint asks for a wait of more than an hour.
  void run(const NextPrompt& next, const TakeAnswer& take);

  int64_t retries() const;

 private:
  class Session;
  std::unique_ptr<Session> session_;
};

}  // namespace spt
