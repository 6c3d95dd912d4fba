#include "data/corpus.h"

#include <bit>

#include "base/durable.h"
#include "data/h5_file.h"

namespace spt {

static_assert(std::endian::native == std::endian::little, "content_sha256 is of little-endian bytes");

void write_corpus(const std::filesystem::path& path, Corpus& corpus) {
  ContentHash hash;
  hash.update(std::span<const int32_t>(corpus.tokens));
  hash.update(std::span<const uint8_t>(corpus.trained));
  hash.update(std::span<const int64_t>(corpus.offsets));
  hash.update(std::span<const std::string>(corpus.sources));
  hash.update(std::span<const std::string>(corpus.ids));
  CorpusInfo& info = corpus.info;
  info.content_sha256 = hash.hex();

  H5Writer file(kCorpusChunk);
  file.text_attribute("format", kCorpusFormat);
  file.int_attribute("version", kCorpusVersion);
  file.text_attribute("arm", info.arm);
  file.text_attribute("template", info.template_text);
  file.text_attribute("system", info.system);
  file.text_attribute("role_prefix", info.role_prefix);
  file.text_attribute("tokenizer_sha256", info.tokenizer_sha256);
  file.text_attribute("source_sha256", info.source_sha256);
  file.text_attribute("content_sha256", info.content_sha256);
  file.int_attribute("max_tokens", info.max_tokens);
  file.int_attribute("truncated_examples", info.truncated_examples);
  file.int_attribute("dropped_examples", info.dropped_examples);
  file.write("tokens", std::span<const int32_t>(corpus.tokens));
  file.write("trained", std::span<const uint8_t>(corpus.trained));
  file.write("offsets", std::span<const int64_t>(corpus.offsets));
  file.write("source", std::span<const std::string>(corpus.sources));
  file.write("id", std::span<const std::string>(corpus.ids));
  write_durable(path, file.bytes());
}

}  // namespace spt
