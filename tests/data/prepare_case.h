// What the tests of prepare share: a tokenizer and template whose corpora read as text.
#pragma once

#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "data/dataset.h"
#include "data/h5_file.h"
#include "data/prepare.h"
#include "tests/data/fake_tokenizer.h"
#include "tests/temporary_folder.h"

namespace spt {

// Ids read as the text's bytes, <s> and </s>, the dummy prefix "_".
inline constexpr const char* kTemplate =
    "system: S\nstart: \"{bos}{system}|{user}:\"\nanswer: \" {assistant}{eos}\"\nnext: \"|{user}:\"\n";
inline constexpr const char* kTwoRecords =
    "{\"conversations\": [\"q1\", \"a1\"], \"role\": \"You are A.\", \"source\": \"x\"}\n"
    "{\"conversations\": [\"q2\", \"a2\", \"q3\", \"a3\"], \"role\": \"You are B.\"}\n";

class PrepareCase : public ::testing::Test {
 protected:
  PrepareConfig config(const std::string& text) {
    PrepareConfig made;
    made.inputs = {folder_.put("in.jsonl", text)};
    made.out = folder_ / "out.h5";
    return made;
  }
  PrepareStatistics run(const PrepareConfig& config) { return prepare(config, template_, tokenizer_); }
  std::string error(const PrepareConfig& config) {
    try {
      run(config);
    } catch (const BadInput& bad) {
      return bad.what();
    }
    return "no error";
  }
  // The rows of a corpus as text.
  std::vector<std::string> rows(const std::string& name = "out.h5") {
    const Dataset dataset(folder_ / name);
    std::vector<std::string> texts;
    for (int64_t row = 0; row < dataset.size(); ++row) {
      const Batch batch = dataset.batch(std::span(&row, 1));
      const int64_t* ids = batch.ids.const_data_ptr<int64_t>();
      texts.push_back(tokenizer_.read({ids, ids + batch.ids.numel()}));
    }
    return texts;
  }
  std::vector<std::string> ids(const std::string& name = "out.h5") {
    const H5Reader file(folder_ / name);
    return file.read_texts("id", 0, file.size("id"));
  }
  TemporaryFolder folder_;
  const FakeTokenizer tokenizer_;
  const ChatTemplate template_ = ChatTemplate::parse(kTemplate, "t.yaml");
};

}  // namespace spt
