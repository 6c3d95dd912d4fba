// spt inspect of a corpus and of records.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace spt {

struct InspectOptions {
  std::filesystem::path path, tokenizer;
  std::string rows;
  bool json = false, verify = false;
  int64_t verify_seconds = 0;                  // 0: by the file's size
  std::vector<std::filesystem::path> against;  // task files
  std::filesystem::path data_root = ".";
  int64_t ngram = 13;
};

void inspect_corpus(const InspectOptions& options);
void inspect_records(const InspectOptions& options);

}  // namespace spt
