// Where a chat model answers, and with which limits: the settings of data/chat_client.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace spt {

struct ApiKey {
  std::string value;   // empty: none, no header is sent
  std::string origin;  // where it comes from or would: for messages
};
// From the file where one is given (white space around it does not count), else from the environment variable, else
// none. Throws BadInput, never showing the key: an unreadable or empty file, one that others may read, more than one
// word.
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

// Throws BadInput, naming the option, for numbers out of range and a missing ca_file.
void check_endpoint(const ChatEndpoint& endpoint);

// Whether a URL's host is this machine: 127.0.0.0/8, [::1], localhost.
bool is_loopback(const std::string& host);

}  // namespace spt
