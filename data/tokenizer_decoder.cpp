#include "data/tokenizer_decoder.h"

#include <charconv>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/tokenizer_byte_level.h"
#include "data/utf8.h"

namespace spt {
namespace {

using Json = nlohmann::json;

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;  // clang 14 does not deduce it

// The byte of a token such as "<0x0A>".
std::optional<char> byte_of(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  unsigned byte = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  if (error != std::errc() || end != token.data() + 5) return std::nullopt;
  return static_cast<char>(byte);
}

std::vector<std::string> decode_bytes(std::vector<std::string> tokens) {
  std::vector<std::string> texts;
  std::string run;
  const auto flush = [&] {
    if (is_utf8(run)) {
      if (!run.empty()) texts.push_back(run);
    } else {
      for (size_t i = 0; i < run.size(); ++i) texts.push_back("\uFFFD");
    }
    run.clear();
  };
  for (std::string& token : tokens) {
    if (const auto byte = byte_of(token)) {
      run += *byte;
      continue;
    }
    flush();
    texts.push_back(std::move(token));
  }
  flush();
  return texts;
}

std::string joined(const std::vector<std::string>& texts, std::string_view between) {
  return fmt::format("{}", fmt::join(texts, between));
}

}  // namespace

Decoder::Decoder(const Json& json) : spaced_(json.is_null()) {
  if (!json.is_null()) add(json);
}

void Decoder::add(const Json& json) {
  const std::string kind = kind_of(json);
  if (kind == "Sequence") {
    for (const Json& step : json.at("decoders")) add(step);
  } else if (kind == "Replace") {
    steps_.push_back(Replace{read_pattern(json.at("pattern")), json.at("content")});
  } else if (kind == "ByteFallback") {
    steps_.push_back(ByteFallback{});
  } else if (kind == "Fuse") {
    steps_.push_back(Fuse{});
  } else if (kind == "Strip") {
    steps_.push_back(Strip{json.at("content"), json.at("start"), json.at("stop")});
    if (std::get<Strip>(steps_.back()).character.empty()) throw BadInput("a Strip decoder strips nothing");
  } else if (kind == "ByteLevel") {
    steps_.push_back(Bytes{});
  } else if (kind == "Metaspace") {
    const std::string scheme = json.value("prepend_scheme", json.value("add_prefix_space", true) ? "always" : "never");
    steps_.push_back(Metaspace{json.value("replacement", "▁"), scheme != "never"});
  } else {
    refuse_kind("decoder", kind, "Sequence, Replace, ByteFallback, Fuse, Strip, ByteLevel, Metaspace");
  }
}

std::string Decoder::apply(std::vector<std::string> tokens, bool at_start) const {
  const auto strip = [at_start](std::string& token, const Strip& what) {
    const size_t length = what.character.size();
    for (size_t n = 0; at_start && n < what.start && token.starts_with(what.character); ++n) token.erase(0, length);
    for (size_t n = 0; n < what.stop && token.ends_with(what.character); ++n) token.resize(token.size() - length);
  };
  const auto unmark = [at_start](std::vector<std::string>& texts, const Metaspace& what) {
    for (size_t i = 0; i < texts.size(); ++i)
      texts[i] = replace_all(what.mark, texts[i], i == 0 && at_start && what.prefix ? "" : " ");
  };
  for (const auto& step : steps_)
    std::visit(Overloaded{[&](const Replace& r) {
                            for (std::string& token : tokens) token = replace_all(r.pattern, token, r.by);
                          },
                          [&](const ByteFallback&) { tokens = decode_bytes(std::move(tokens)); },
                          [&](const Fuse&) { tokens = {joined(tokens, "")}; },
                          [&](const Strip& what) {
                            for (std::string& token : tokens) strip(token, what);
                          },
                          [&](const Bytes&) {
                            std::string bytes;
                            for (const std::string& token : tokens) bytes += characters_to_bytes(token);
                            tokens = {utf8_replace_invalid(bytes)};
                          },
                          [&](const Metaspace& what) { unmark(tokens, what); }},
               step);
  return joined(tokens, spaced_ ? " " : "");
}

}  // namespace spt
