#include "data/tokenizer_words.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "data/tokenizer_byte_level.h"

namespace spt {
namespace {

using Json = nlohmann::json;

constexpr const char* kGpt2Words = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace

Normalizer::Normalizer(const Json& json) {
  if (!json.is_null()) add(json);
}

void Normalizer::add(const Json& json) {
  const std::string kind = kind_of(json);
  if (kind == "Sequence") {
    for (const Json& step : json.at("normalizers")) add(step);
  } else if (kind == "Prepend") {
    steps_.push_back(Prepend{json.at("prepend")});
  } else if (kind == "Replace") {
    steps_.push_back(Replace{read_pattern(json.at("pattern")), json.at("content")});
  } else {
    refuse_kind("normalizer", kind, "Sequence, Prepend, Replace");
  }
}

std::string Normalizer::apply(std::string_view text, Place place) const {
  std::string result(text);
  for (const auto& step : steps_) {
    if (const Replace* replace = std::get_if<Replace>(&step))
      result = replace_all(replace->pattern, result, replace->by);
    else if (!result.empty() && place != Place::kContinued)
      result.insert(0, std::get<Prepend>(step).text);
  }
  return result;
}

PreTokenizer::PreTokenizer(const Json& json) {
  if (!json.is_null()) add(json);
  if (!steps_.empty() && std::holds_alternative<Bytes>(steps_.back())) {
    steps_.pop_back();
    gives_bytes_ = true;
  }
}

void PreTokenizer::add(const Json& json) {
  const std::string kind = kind_of(json);
  if (kind == "Sequence") {
    for (const Json& step : json.at("pretokenizers")) add(step);
  } else if (kind == "Split") {
    steps_.push_back(
        Split{read_pattern(json.at("pattern")), behavior_of(json.at("behavior")), json.value("invert", false)});
  } else if (kind == "Digits") {
    const bool each = json.value("individual_digits", false);
    steps_.push_back(Split{Regex("\\p{N}"), each ? Behavior::kIsolated : Behavior::kContiguous, false});
  } else if (kind == "ByteLevel") {
    if (json.value("add_prefix_space", true)) steps_.push_back(Prefix{" ", Scheme::kAlways});
    if (json.value("use_regex", true)) steps_.push_back(Split{Regex(kGpt2Words), Behavior::kIsolated, false});
    steps_.push_back(Bytes{});
  } else if (kind == "Metaspace") {
    const std::string mark = json.value("replacement", "▁");
    const std::string scheme = json.value("prepend_scheme", json.value("add_prefix_space", true) ? "always" : "never");
    steps_.push_back(Spaces{mark});
    if (scheme == "always" || scheme == "first")
      steps_.push_back(Prefix{mark, scheme == "first" ? Scheme::kFirst : Scheme::kAlways});
    else if (scheme != "never")
      refuse_kind("Metaspace prepend_scheme", scheme, "always, first, never");
    if (json.value("split", true)) steps_.push_back(Split{mark, Behavior::kMergedWithNext, false});
  } else {
    refuse_kind("pre_tokenizer", kind, "Sequence, Split, Digits, ByteLevel, Metaspace");
  }
}

PreTokenizer::Behavior PreTokenizer::behavior_of(const std::string& name) {
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  refuse_kind("Split behavior", name, "Isolated, Removed, MergedWithPrevious, MergedWithNext, Contiguous");
}

std::vector<Span> PreTokenizer::parts_of(const Split& split, std::string_view text) {
  struct Part {
    Span span;
    bool match;
  };
  std::vector<Part> parts;  // matches and what lies between, in order, covering the text
  size_t done = 0;
  for (const Span& span : find_all(split.pattern, text)) {
    if (done < span.begin) parts.push_back({{done, span.begin}, split.invert});
    parts.push_back({span, !split.invert});
    done = span.end;
  }
  if (done < text.size()) parts.push_back({{done, text.size()}, split.invert});

  std::vector<Span> result;
  bool after_match = false;
  const auto join_or_push = [&](const Part& part, bool join) {
    if (join && !result.empty())
      result.back() = {std::min(result.back().begin, part.span.begin), std::max(result.back().end, part.span.end)};
    else
      result.push_back(part.span);
    after_match = part.match;
  };
  switch (split.behavior) {
    case Behavior::kIsolated:
      for (const Part& part : parts) result.push_back(part.span);
      break;
    case Behavior::kRemoved:
      for (const Part& part : parts)
        if (!part.match) result.push_back(part.span);
      break;
    case Behavior::kContiguous:
      for (const Part& part : parts) join_or_push(part, part.match == after_match);
      break;
    case Behavior::kMergedWithPrevious:
      for (const Part& part : parts) join_or_push(part, part.match && !after_match);
      break;
    case Behavior::kMergedWithNext:
      std::ranges::reverse(parts);
      for (const Part& part : parts) join_or_push(part, part.match && !after_match);
      std::ranges::reverse(result);
      break;
  }
  return result;
}

std::vector<Piece> PreTokenizer::apply(Piece piece) const {
  std::vector<Piece> pieces;
  if (!piece.text.empty()) pieces.push_back(std::move(piece));
  for (const Step& step : steps_) {
    if (const Split* split = std::get_if<Split>(&step)) {
      std::vector<Piece> finer;
      for (const Piece& whole : pieces)
        for (const Span& span : parts_of(*split, whole.text))
          finer.push_back(
              {whole.text.substr(span.begin, span.end - span.begin), span.begin == 0 ? whole.place : Place::kLater});
      pieces = std::move(finer);
      continue;
    }
    for (auto& [text, place] : pieces) {
      if (const Spaces* spaces = std::get_if<Spaces>(&step)) {
        text = replace_all(" ", text, spaces->mark);
      } else if (const Prefix* prefix = std::get_if<Prefix>(&step)) {
        const bool wanted = prefix->scheme == Scheme::kFirst ? place == Place::kStart : place != Place::kContinued;
        if (wanted && !text.starts_with(prefix->space)) text.insert(0, prefix->space);
      } else {
        text = bytes_to_characters(text);
      }
    }
  }
  return pieces;
}

}  // namespace spt
