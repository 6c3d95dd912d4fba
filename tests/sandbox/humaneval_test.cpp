// All of HumanEval with its own solutions, where its file is there (SPT_SHARED_DATA, or ../shared/data).
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <future>
#include <iostream>
#include <map>
#include <sstream>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "data/gz_file.h"
#include "tests/sandbox/in_sandbox.h"
#include "trainer/eval/code.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

struct Problem {
  std::string id, prompt, entry_point, solution, test;
};

class HumanEval : public InSandbox {
 protected:
  void SetUp() override {
    InSandbox::SetUp();
    if (IsSkipped()) return;
    const char* folder = std::getenv("SPT_SHARED_DATA");
    const fs::path data = folder != nullptr ? fs::path(folder) : fs::path(SPT_SOURCE_DIR) / ".." / "shared" / "data";
    const fs::path file = data / "bench/humaneval/HumanEval.jsonl.gz";
    if (!fs::exists(file)) GTEST_SKIP() << file << " is not there";
    std::istringstream lines(read_gz_or_plain(file, 10 << 20));
    for (std::string line; std::getline(lines, line);) {
      const auto record = nlohmann::json::parse(line);
      problems_.push_back(
          {record["task_id"], record["prompt"], record["entry_point"], record["canonical_solution"], record["test"]});
    }
    ASSERT_EQ(problems_.size(), 164U);
  }

  // Scores what `answer` makes of every problem; two at a time.
  template <class Answer>
  void expect_all(CodeRule rule, SandboxStatus status, Answer answer) {
    std::atomic<size_t> next = 0;
    std::vector<std::string> faults(problems_.size());
    const auto work = [&] {
      for (size_t i = next++; i < problems_.size(); i = next++) {
        const Problem& problem = problems_[i];
        const auto found = extract_code(answer(problem), problem.prompt, problem.entry_point);
        if (!found || found->rule != rule) {
          faults[i] = problem.id + ": extracted by another rule";
          continue;
        }
        const SandboxResult result =
            run_python(humaneval_program(found->code, problem.test, problem.entry_point), {}, true);
        if (result.status != status)
          faults[i] =
              fmt::format("{}: {}\n{}\n{}", problem.id, static_cast<int>(result.status), found->code, result.output);
      }
    };
    auto other = std::async(std::launch::async, work);
    work();
    other.get();
    for (const std::string& fault : faults) EXPECT_EQ(fault, "");
  }

  std::vector<Problem> problems_;
};

TEST_F(HumanEval, SolutionsPassAsFencedFunctions) {
  expect_all(CodeRule::kFencedFunction, SandboxStatus::kPassed, [](const Problem& problem) {
    return "Here is the function:\n\n```python\n" + problem.prompt + problem.solution +
           "```\n\nIt returns what is asked for.";
  });
}

TEST_F(HumanEval, SolutionsPassAsFunctionsWithoutImports) {
  expect_all(CodeRule::kFencedFunction, SandboxStatus::kPassed, [](const Problem& problem) {
    const size_t start = problem.prompt.find("def " + problem.entry_point + "(");
    return "~~~\n" + problem.prompt.substr(start) + problem.solution + "~~~";
  });
}

TEST_F(HumanEval, SolutionsPassAsBodies) {
  expect_all(CodeRule::kBody, SandboxStatus::kPassed,
             [](const Problem& problem) { return problem.solution + "\n\nThis solves it: see the loop.\n"; });
}

TEST_F(HumanEval, SolutionsPassWithoutAFence) {
  expect_all(CodeRule::kFunction, SandboxStatus::kPassed, [](const Problem& problem) {
    return "Sure.\n\n" + problem.prompt + problem.solution + "\nThis solves it.\n\nprint(1 / 0)\n";
  });
}

TEST_F(HumanEval, NothingReturnedFails) {
  expect_all(CodeRule::kFencedBody, SandboxStatus::kFailed, [](const Problem&) { return "```\nreturn None\n```"; });
}

}  // namespace
}  // namespace spt
