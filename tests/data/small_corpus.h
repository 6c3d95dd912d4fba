// A corpus of three examples, for tests of reading.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/corpus.h"

namespace spt {

struct SmallCorpus {
  CorpusInfo info;
  std::vector<int32_t> tokens;
  std::vector<uint8_t> trained;
  std::vector<int64_t> offsets;
  std::vector<std::string> sources, ids;

  void write(const std::filesystem::path& path, int64_t shards = 1) {
    CorpusWriter writer(path, {static_cast<int64_t>(ids.size()), 255, 255, shards});
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto begin = static_cast<size_t>(offsets[i]), size = static_cast<size_t>(offsets[i + 1]) - begin;
      writer.add(std::span(tokens).subspan(begin, size), std::span(trained).subspan(begin, size), sources[i], ids[i]);
    }
    writer.finish(info);
    writer.commit();
  }
};

inline SmallCorpus small_corpus() {
  SmallCorpus corpus;
  corpus.info.arm = "role";
  corpus.info.template_text = "system: S";
  corpus.info.system = "S";
  corpus.info.role_prefix = "You are";
  corpus.info.tokenizer_sha256 = std::string(64, 'a');
  corpus.info.source_sha256 = std::string(64, 'b');
  corpus.info.max_tokens = 8;
  corpus.info.truncated_examples = 1;
  corpus.info.dropped_examples = 2;
  corpus.tokens = {1, 10, 11, 12, 2, 1, 20, 2, 1, 30, 31, 32, 33, 34, 35, 2};
  corpus.trained = {0, 0, 1, 1, 1, 0, 1, 1, 0, 0, 0, 1, 1, 0, 1, 1};
  corpus.offsets = {0, 5, 8, 16};
  corpus.sources = {"wiki", "", "übung"};
  corpus.ids = {"1", "x-2", "3"};
  return corpus;
}

}  // namespace spt
