#include "data/chat_endpoint.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include <arpa/inet.h>
#include <fmt/format.h>

#include "base/error.h"

namespace spt {

namespace fs = std::filesystem;

namespace {

// Of a regular file: a pipe from a program that keeps secrets is its own.
void require_private(const fs::path& file) {
  std::error_code error;
  const fs::file_status status = fs::status(file, error);
  constexpr fs::perms kOthers = fs::perms::group_all | fs::perms::others_all;
  if (!fs::is_regular_file(status) || (status.permissions() & kOthers) == fs::perms::none) return;
  throw BadInput(
      fmt::format("--key-file: {}: others may use it (mode {:04o}); the key in it is for you alone: chmod 600 {}",
                  file.string(), static_cast<unsigned>(status.permissions()), file.string()));
}

}  // namespace

ApiKey load_api_key(const std::string& variable, const fs::path& file) {
  ApiKey key;
  if (!file.empty()) {
    require_private(file);
    std::ifstream stream(file, std::ios::binary);
    std::string text(8192, '\0');
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (stream.bad() || (stream.gcount() == 0 && !stream.eof()))
      throw BadInput(fmt::format("--key-file: {}: cannot be read: {}", file.string(), std::strerror(errno)));
    text.resize(static_cast<size_t>(stream.gcount()));
    const size_t begin = text.find_first_not_of(" \t\r\n");
    if (begin == std::string::npos) throw BadInput(fmt::format("--key-file: {}: is empty", file.string()));
    key = {text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1), file.string()};
  } else if (!variable.empty()) {
    const char* value = std::getenv(variable.c_str());
    key = {value != nullptr ? value : "", "the environment variable " + variable};
  }
  if (!std::all_of(key.value.begin(), key.value.end(), [](char c) { return c > ' ' && c < 0x7f; }))
    throw BadInput(fmt::format("the key in {} is not one word of printable ASCII characters", key.origin));
  return key;
}

void check_endpoint(const ChatEndpoint& endpoint) {
  const auto at_least = [](const char* option, double value, double least) {
    if (!(value >= least && std::isfinite(value)))
      throw BadInput(fmt::format("{} is {}, must be at least {}", option, value, least));
  };
  at_least("--concurrency", static_cast<double>(endpoint.concurrency), 1);
  at_least("--tries", static_cast<double>(endpoint.tries), 1);
  at_least("--requests-per-minute", endpoint.requests_per_minute, 0);
  at_least("--tokens-per-minute", endpoint.tokens_per_minute, 0);
  at_least("--connect-timeout", endpoint.connect_timeout_s, 0.001);
  at_least("--timeout", endpoint.timeout_s, 0.001);
  at_least("--retry-delay", endpoint.retry_delay_s, 0);
  std::error_code error;
  if (!endpoint.ca_file.empty() && !fs::is_regular_file(endpoint.ca_file, error))
    throw BadInput(fmt::format("--ca-file: {}: no such file", endpoint.ca_file.string()));
}

bool is_loopback(const std::string& host) {
  in_addr v4{};
  in6_addr v6{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  const bool in_brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (in_brackets && inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &v6) == 1)
    return IN6_IS_ADDR_LOOPBACK(&v6);
  return host == "localhost";
}

}  // namespace spt
