#include "data/tokenizer_added.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/json_text.h"
#include "data/tokenizer_bpe.h"

namespace spt {
namespace {

// Unicode's White_Space.
constexpr std::string_view kSpaces[] = {"\t",     "\n",     "\v",     "\f",     "\r",     " ",      "\u0085",
                                        "\u00A0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004",
                                        "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200A", "\u2028",
                                        "\u2029", "\u202F", "\u205F", "\u3000"};

// Bytes of white space at the front, or at the back.
size_t leading_space(std::string_view text) {
  size_t length = 0;
  for (bool more = true; more;) {
    more = false;
    for (const std::string_view space : kSpaces)
      if (text.substr(length).starts_with(space)) {
        length += space.size();
        more = true;
      }
  }
  return length;
}

size_t trailing_space(std::string_view text) {
  const size_t whole = text.size();
  for (bool more = true; more;) {
    more = false;
    for (const std::string_view space : kSpaces)
      if (text.ends_with(space)) {
        text.remove_suffix(space.size());
        more = true;
      }
  }
  return whole - text.size();
}

}  // namespace

bool AddedToken::is_white_space() const {
  return !special && leading_space(text) == text.size();
}

int64_t token_id(const nlohmann::json& json) {
  if (!json.is_number_integer())
    throw BadInput(fmt::format("a token has the id {}, which is no whole number", brief(json)));
  return json.get<int64_t>();
}

AddedToken read_added_token(const nlohmann::json& json, int64_t id) {
  AddedToken token;
  token.text = json.at("content");
  if (token.text.empty()) throw BadInput(fmt::format("added token {} has no text", id));
  if (id < 0 || id > Bpe::kMaxId)
    throw BadInput(fmt::format("added token '{}' has the id {}, allowed are 0 to {}", token.text, id, Bpe::kMaxId));
  if (json.value("single_word", false))
    throw BadInput(fmt::format("added token '{}': single_word is not supported", token.text));
  token.id = static_cast<int32_t>(id);
  token.special = json.value("special", false);
  token.normalized = json.value("normalized", !token.special);
  token.strips_left = json.value("lstrip", false);
  token.strips_right = json.value("rstrip", false);
  return token;
}

void AddedTokenFinder::add(const AddedToken& token, std::string text) {
  std::vector<Entry>& bucket = entries_[static_cast<unsigned char>(text.front())];
  const auto place = std::ranges::find_if(bucket, [&](const Entry& e) { return e.text.size() <= text.size(); });
  bucket.insert(place, {std::move(text), token});
  has_white_space_ = has_white_space_ || token.is_white_space();
}

const AddedTokenFinder::Entry* AddedTokenFinder::match(std::string_view text, bool markup) const {
  for (const Entry& entry : entries_[static_cast<unsigned char>(text.front())])
    if ((markup || entry.token.is_white_space()) && text.starts_with(entry.text)) return &entry;
  return nullptr;
}

std::vector<AddedTokenFinder::Section> AddedTokenFinder::split(std::string_view text, bool markup) const {
  if (!markup && !has_white_space_ && !text.empty()) return {{{0, text.size()}, std::nullopt}};
  std::vector<Section> sections;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const Entry* entry = match(text.substr(at), markup);
    if (!entry) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + entry->text.size();
    at = end;
    if (entry->token.strips_left) begin -= trailing_space(text.substr(done, begin - std::min(done, begin)));
    if (entry->token.strips_right) end += leading_space(text.substr(end));
    if (done < begin) sections.push_back({{done, begin}, std::nullopt});
    sections.push_back({{begin, end}, entry->token.id});
    done = std::max(done, end);
  }
  if (done < text.size()) sections.push_back({{done, text.size()}, std::nullopt});
  return sections;
}

}  // namespace spt
