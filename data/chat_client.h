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
#include <memory>

#include "data/chat.h"
#include "data/chat_endpoint.h"

namespace spt {

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
