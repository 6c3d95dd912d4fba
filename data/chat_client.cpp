#include "data/chat_client.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <list>
#include <random>
#include <set>
#include <sstream>

#include <curl/curl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "base/stop.h"
#include "base/version.h"
#include "data/chat_message.h"
#include "data/pace.h"

namespace spt {
namespace {

using Clock = Pace::Clock;

constexpr size_t kMaxResponseBytes = 4 << 20;
constexpr long kMaxRetryAfter = 3600;  // seconds
constexpr double kMaxDelay = 60;       // seconds
constexpr size_t kShortestSecret = 8;  // a shorter key is a dummy ("none"), whose text may stand in any answer

Clock::duration seconds(double value) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(value));
}

struct Url {
  std::string text, host;
};

std::string part_of(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, 0) != CURLUE_OK) return "";
  std::string copy = text;
  curl_free(text);
  return copy;
}

// A query's names under which endpoints take keys: the command line, where it would stand, is everybody's to read.
bool has_key_in(const std::string& query) {
  static constexpr const char* kNames[] = {"key",   "api_key", "api-key", "apikey",    "access_token",
                                           "token", "secret",  "sig",     "signature", "password"};
  std::istringstream parts(query);
  for (std::string part; std::getline(parts, part, '&');) {
    std::string name = part.substr(0, part.find('='));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    if (std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames)) return true;
  }
  return false;
}

// Checks the endpoint's URL and completes its path. Messages do not repeat it: there may be secrets in it.
Url complete_url(const ChatEndpoint& endpoint) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), curl_url_cleanup);
  const CURLUcode code = curl_url_set(url.get(), CURLUPART_URL, endpoint.url.c_str(), 0);
  const std::string scheme = part_of(url.get(), CURLUPART_SCHEME);
  if (code != CURLUE_OK || (scheme != "https" && scheme != "http"))
    throw BadInput("--endpoint is no http:// or https:// URL; give e.g. https://api.openai.com/v1");
  const std::string host = part_of(url.get(), CURLUPART_HOST);
  if (!part_of(url.get(), CURLUPART_USER).empty() || !part_of(url.get(), CURLUPART_PASSWORD).empty())
    throw BadInput(fmt::format("--endpoint: the URL of {} has a user or password in it; give a key instead", host));
  if (has_key_in(part_of(url.get(), CURLUPART_QUERY)))
    throw BadInput(fmt::format(
        "--endpoint: the URL of {} has a key in its query, where everybody on this machine can read it; give "
        "it in an environment variable (--key-env) or a file (--key-file)",
        host));
  if (scheme == "http" && !is_loopback(host) && !endpoint.key.value.empty())
    throw BadInput(
        fmt::format("--endpoint: over plain http the key from {} could be read on its way to {}: give an "
                    "https:// URL; to an endpoint that wants no key, send none (--key-env \"\")",
                    endpoint.key.origin, host));
  if (scheme == "https" && !is_loopback(host) && endpoint.key.value.empty() && !endpoint.key.origin.empty())
    throw BadInput(
        fmt::format("{} is not set, and {} will want a key: set it, give --key-file, or, for an endpoint that "
                    "wants none, --key-env \"\"",
                    endpoint.key.origin, host));
  std::string path = part_of(url.get(), CURLUPART_PATH);
  while (path.ends_with('/')) path.pop_back();
  if (!path.ends_with("/chat/completions")) path += "/chat/completions";
  curl_url_set(url.get(), CURLUPART_PATH, path.c_str(), 0);
  return {part_of(url.get(), CURLUPART_URL), host};
}

}  // namespace

// A prompt on its way, through all its tries.
struct ChatTransfer {
  ChatPrompt prompt;
  std::string body;
  int64_t estimate = 0;  // tokens
  int64_t tries = 0;
  Clock::time_point not_before;
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> easy{nullptr, curl_easy_cleanup};  // while it is in flight
  std::string response;
  char error[CURL_ERROR_SIZE] = {};
};

class ChatClient::Session {
 public:
  explicit Session(ChatEndpoint endpoint)
      : endpoint_(std::move(endpoint)),
        url_((check_endpoint(endpoint_), complete_url(endpoint_))),
        extra_(parse_chat_extra("--request", endpoint_.extra)),
        requests_(endpoint_.requests_per_minute),
        tokens_(endpoint_.tokens_per_minute) {
    for (const std::string& line : {std::string("Content-Type: application/json"),
                                    endpoint_.key.value.empty() ? "" : "Authorization: Bearer " + endpoint_.key.value})
      if (!line.empty()) headers_.reset(curl_slist_append(headers_.release(), line.c_str()));
  }
  ~Session() {
    for (ChatTransfer& transfer : transfers_) take_off(transfer);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void run(const NextPrompt& next, const TakeAnswer& take) {
    while (!stop_requested()) {
      fill(next);
      if (transfers_.empty()) return;
      start_ready();
      int running = 0;
      check(curl_multi_perform(multi_.get(), &running));
      if (!finish_done(take)) check(curl_multi_poll(multi_.get(), nullptr, 0, poll_milliseconds(), nullptr));
    }
  }
  int64_t retries() const { return retries_; }

 private:
  using Transfers = std::list<ChatTransfer>;

  static void check(CURLMcode code) {
    if (code != CURLM_OK) throw Failure(fmt::format("libcurl: {}", curl_multi_strerror(code)));
  }

  void fill(const NextPrompt& next) {
    while (transfers_.size() < static_cast<size_t>(endpoint_.concurrency)) {
      auto prompt = next();
      if (!prompt) return;
      ChatTransfer& transfer = transfers_.emplace_back();
      transfer.body = chat_request(endpoint_.model, *prompt, endpoint_.max_new_tokens, extra_);
      transfer.estimate = estimate_tokens(*prompt, 0).prompt + endpoint_.max_new_tokens;
      transfer.prompt = std::move(*prompt);
    }
  }

  void start_ready() {
    for (ChatTransfer& transfer : transfers_) {
      const Clock::time_point now = Clock::now();
      if (now < start_allowed()) return;
      if (!transfer.easy && transfer.not_before <= now) start(transfer, now);
    }
  }
  Clock::time_point start_allowed() const { return std::max({paused_until_, requests_.ready(), tokens_.ready()}); }

  void start(ChatTransfer& transfer, Clock::time_point now) {
    transfer.easy.reset(curl_easy_init());
    CURL* easy = transfer.easy.get();
    if (easy == nullptr) throw Failure("libcurl: no memory for a request");
    ++transfer.tries;
    transfer.response.clear();
    curl_easy_setopt(easy, CURLOPT_URL, url_.text.c_str());
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers_.get());
    curl_easy_setopt(easy, CURLOPT_USERAGENT, fmt::format("spt/{}", kVersion).c_str());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(transfer.body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, transfer.body.c_str());
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, std::lround(endpoint_.connect_timeout_s * 1000));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, std::lround(endpoint_.timeout_s * 1000));
    // A proxy would carry what is for this machine only.
    if (is_loopback(url_.host)) curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    if (!endpoint_.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, endpoint_.ca_file.c_str());
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer.error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer.response);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer);
    check(curl_multi_add_handle(multi_.get(), easy));
    requests_.started(1, now);
    tokens_.started(static_cast<double>(transfer.estimate), now);
  }

  static size_t append(char* bytes, size_t size, size_t count, void* response) {
    auto& text = *static_cast<std::string*>(response);
    if (text.size() + size * count > kMaxResponseBytes) return 0;
    text.append(bytes, size * count);
    return size * count;
  }

  void take_off(ChatTransfer& transfer) {
    if (transfer.easy) curl_multi_remove_handle(multi_.get(), transfer.easy.get());
    transfer.easy.reset();
  }

  // False when none was done.
  bool finish_done(const TakeAnswer& take) {
    bool any = false;
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      any = true;
      ChatTransfer* transfer = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
      const std::optional<ChatAnswer> answer = finish(*transfer, message->data.result);
      take_off(*transfer);
      if (!answer) continue;
      transfers_.remove_if([transfer](const ChatTransfer& other) { return &other == transfer; });
      take(*answer);
    }
    return any;
  }

  // The answer or the failure of a transfer that is done; nothing when it is to be tried again.
  std::optional<ChatAnswer> finish(ChatTransfer& transfer, CURLcode code) {
    black_out_key(transfer.response);
    if (code != CURLE_OK) return retry(transfer, reason_of(transfer, code));
    long status = 0;
    curl_easy_getinfo(transfer.easy.get(), CURLINFO_RESPONSE_CODE, &status);
    if (status == 200) return read(transfer);
    const ChatError error = read_chat_error(transfer.response);
    if (status == 408 || status == 409 || status == 425 || status == 429 || status >= 500) {
      heed_retry_after(transfer);
      return retry(transfer, fmt::format("status {}: {}", status, error.message));
    }
    if (status == 400 && (error.code == "content_filter" || error.code == "context_length_exceeded"))
      return failure(transfer, fmt::format("status 400 ({}): {}", error.code, error.message));
    stop_for(transfer, status, error.message);
  }

  std::optional<ChatAnswer> read(ChatTransfer& transfer) {
    ChatResponse response = read_chat_response(transfer.response);
    if (!response.fault.empty()) return retry(transfer, response.fault);
    if (!response.usage)  // servers need not count: by the rule of thumb of estimate_tokens
      response.usage = {estimate_tokens(transfer.prompt, 0).prompt, static_cast<int64_t>(response.text.size() / 4)};
    tokens_.add(static_cast<double>(response.usage->prompt + response.usage->completion - transfer.estimate));
    return ChatAnswer{transfer.prompt.number, std::move(response.text), *response.usage, ""};
  }

  std::string reason_of(const ChatTransfer& transfer, CURLcode code) const {
    std::string text = *transfer.error != '\0' ? transfer.error : curl_easy_strerror(code);
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
      throw BadInput(
          fmt::format("--endpoint: the TLS certificate of {} is not trusted: {}. If it is your own "
                      "authority's, give that with --ca-file FILE.pem",
                      url_.host, text));
    if (code == CURLE_WRITE_ERROR) return fmt::format("a response of more than {} bytes", kMaxResponseBytes);
    if (code == CURLE_OPERATION_TIMEDOUT) return fmt::format("{} (--timeout is {} s)", text, endpoint_.timeout_s);
    return text;
  }

  std::optional<ChatAnswer> retry(ChatTransfer& transfer, const std::string& reason) {
    if (transfer.tries >= endpoint_.tries)
      return failure(transfer, fmt::format("{} (after {} tries)", reason, transfer.tries));
    ++retries_;
    if (reasons_.insert(reason).second) spdlog::warn("{}: {}; trying again", url_.host, reason);
    const double delay = std::min(kMaxDelay, endpoint_.retry_delay_s * std::exp2(transfer.tries - 1));
    transfer.not_before = Clock::now() + seconds(delay * std::uniform_real_distribution(0.5, 1.0)(random_));
    return std::nullopt;
  }

  static ChatAnswer failure(const ChatTransfer& transfer, const std::string& reason) {
    return {transfer.prompt.number, "", {}, reason};
  }

  void heed_retry_after(const ChatTransfer& transfer) {
    curl_off_t wait = 0;  // seconds; libcurl reads both forms of the header
    curl_easy_getinfo(transfer.easy.get(), CURLINFO_RETRY_AFTER, &wait);
    if (wait > kMaxRetryAfter)
      throw Failure(fmt::format("{} asks to wait for {} s (limit: {} s): start the same command again after that",
                                url_.host, wait, kMaxRetryAfter));
    paused_until_ = std::max(paused_until_, Clock::now() + std::chrono::seconds(wait));
  }

  [[noreturn]] void stop_for(const ChatTransfer& transfer, long status, const std::string& message) const {
    if (status == 401 || status == 403)
      throw BadInput(fmt::format("{} refuses the key (status {}): {}. {}", url_.host, status, message, key_advice()));
    if (status >= 300 && status < 400) {
      const char* target = nullptr;
      curl_easy_getinfo(transfer.easy.get(), CURLINFO_REDIRECT_URL, &target);
      std::string to = target != nullptr ? target : "(nowhere)";
      black_out_key(to);
      throw BadInput(
          fmt::format("{} redirects to {} (status {}): not followed, because the key would go along; give "
                      "the right URL as --endpoint",
                      url_.host, to, status));
    }
    throw BadInput(fmt::format("{} refuses the request (status {}): {}. See --endpoint, --model and --request",
                               url_.host, status, message));
  }
  std::string key_advice() const {
    if (endpoint_.key.origin.empty()) return "No key was sent: name its variable (--key-env) or file (--key-file)";
    return fmt::format("{} {}", endpoint_.key.value.empty() ? "No key was sent: set" : "Check the key in",
                       endpoint_.key.origin) +
           ", or give --key-file";
  }

  void black_out_key(std::string& text) const {
    const std::string& key = endpoint_.key.value;
    if (key.size() < kShortestSecret) return;
    for (size_t at = text.find(key); at != std::string::npos; at = text.find(key, at))
      text.replace(at, key.size(), "***");
  }

  int poll_milliseconds() const {
    constexpr int kStopLatency = 200;
    Clock::time_point wake = Clock::now() + std::chrono::milliseconds(kStopLatency);
    for (const ChatTransfer& transfer : transfers_)
      if (!transfer.easy) wake = std::min(wake, std::max(transfer.not_before, start_allowed()));
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(wake - Clock::now());
    return static_cast<int>(std::max<int64_t>(0, wait.count()));
  }

  const ChatEndpoint endpoint_;
  const Url url_;
  const nlohmann::json extra_;
  Pace requests_, tokens_;
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers_{nullptr, curl_slist_free_all};
  std::unique_ptr<CURLM, decltype(&curl_multi_cleanup)> multi_{curl_multi_init(), curl_multi_cleanup};
  Transfers transfers_;
  Clock::time_point paused_until_;
  std::mt19937_64 random_{std::random_device{}()};
  std::set<std::string> reasons_;  // that were logged
  int64_t retries_ = 0;
};

ChatClient::ChatClient(ChatEndpoint endpoint) : session_(std::make_unique<Session>(std::move(endpoint))) {}
ChatClient::~ChatClient() = default;

void ChatClient::run(const NextPrompt& next, const TakeAnswer& take) {
  session_->run(next, take);
}

int64_t ChatClient::retries() const {
  return session_->retries();
}

}  // namespace spt
