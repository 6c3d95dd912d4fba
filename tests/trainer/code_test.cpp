#include "trainer/eval/code.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace spt {
namespace {

constexpr const char* kPrompt =
    "from typing import List\n\ndef helper(x):\n    return x\n\n\ndef total(numbers: List[int]) -> int:\n    \"\"\" "
    "Adds.\n    >>> total([1])\n"
    "    1\n    \"\"\"\n";
constexpr const char* kAbove = "from typing import List\n\ndef helper(x):\n    return x\n\n\n";

// The rule and the code without what the prompt has above; "nothing" without code.
std::string extracted(const std::string& answer) {
  const auto found = extract_code(answer, kPrompt, "total");
  if (!found) return "nothing";
  const bool body = found->rule == CodeRule::kBody || found->rule == CodeRule::kFencedBody;
  const std::string start = body ? kPrompt : kAbove;
  EXPECT_EQ(found->code.substr(0, start.size()), start) << found->code;
  return to_string(found->rule) + ":\n" + found->code.substr(start.size());
}

TEST(ExtractCode, TakesTheFirstFencedBlock) {
  const std::string function = "def total(numbers):\n    return sum(numbers)\n";
  for (const std::string& answer : std::vector<std::string>{
           "```python\n" + function + "```",
           "Here:\n\n```\n" + function + "```\nIt adds.\n\n```python\nprint(total([1]))\n```\n",
           "~~~py\n" + function + "~~~~\n", "````Python3\n" + function + "````", "```python\n" + function,  // cut off
           "```bash\npip install numpy\n```\n```\n" + function + "```",
           "```python\r\ndef total(numbers):\r\n    return sum(numbers)\r\n```",
           "1. So:\n   ```python\n   def total(numbers):\n       return sum(numbers)\n   ```\n",
           "Not ```x```.\n```python\n" + function + "```"})
    EXPECT_EQ(extracted(answer), "fenced function:\n" + function) << answer;
  EXPECT_EQ(extracted("```python\ndef total (numbers):\n    return 1\n```"),
            "fenced function:\ndef total (numbers):\n    return 1\n");
}

TEST(ExtractCode, KeepsWhatABlockBringsAlong) {
  EXPECT_EQ(
      extracted("```python\nimport math\n\ndef other():\n    pass\n\ndef total(n):\n    return other()\nx = 1\n```"),
      "fenced function:\nimport math\n\ndef other():\n    pass\n\ndef total(n):\n    return other()\nx = 1\n");
  const auto found = extract_code("```\nfrom __future__ import annotations\ndef total(n): pass\n```", kPrompt, "total");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->code, std::string("from __future__ import annotations\n") + kAbove + "def total(n): pass\n");
}

TEST(ExtractCode, ABodyFollowsThePrompt) {
  const std::string body = "    t = 0\n    for n in numbers:\n        t += n\n    return t\n";
  for (const char* answer : {
           "    t = 0\n    for n in numbers:\n        t += n\n    return t\n",
           "t = 0\n    for n in numbers:\n        t += n\n    return t",  // the first line lost its indentation
           "  t = 0\n  for n in numbers:\n      t += n\n  return t\n\nThis adds all numbers.\n",
           "\n\n    t = 0\n    for n in numbers:\n        t += n\n    return t\n\n\nprint(total([1]))\n",
           "Here is the rest:\n\n    t = 0\n    for n in numbers:\n        t += n\n    return t\nThat is all.",
       })
    EXPECT_EQ(extracted(answer), "body:\n" + body) << answer;
  for (const char* answer : {"```python\n    t = 0\n    for n in numbers:\n        t += n\n    return t\n```",
                             "```python\nt = 0\nfor n in numbers:\n    t += n\nreturn t\n```",
                             "```\n\n  t = 0\n  for n in numbers:\n      t += n\n  return t\n```"})
    EXPECT_EQ(extracted(answer), "fenced body:\n" + body) << answer;
  EXPECT_EQ(extracted("return sum(numbers)"), "body:\n    return sum(numbers)\n");
  EXPECT_EQ(extracted("for n in numbers:\n        return n\n    return 0\nIt returns."),
            "body:\n    for n in numbers:\n        return n\n    return 0\n");
  EXPECT_EQ(extracted("if numbers:\n    return 1\nreturn 0"),
            "body:\n    if numbers:\n        return 1\n    return 0\n");
  EXPECT_EQ(extracted("    return [\n        1,\n    ]\n\n\nclass X:\n    pass"),
            "body:\n    return [\n        1,\n    ]\n");
}

TEST(ExtractCode, AFunctionWithoutAFenceEndsWithTheFirstProse) {
  const std::string function = "def total(numbers):\n    return sum(\n        numbers\n)\n";
  EXPECT_EQ(extracted(function), "function:\n" + function);
  EXPECT_EQ(extracted("Sure, here it is:\n\n" + function + "\nIt works.\n    indented prose"),
            "function:\n" + function + "\n");
  EXPECT_EQ(extracted("import math\n\n@cache\ndef other():\n    pass\n\n" + function + "print(total([]))\n"),
            "function:\nimport math\n\n@cache\ndef other():\n    pass\n\n" + function);
  EXPECT_EQ(extracted("def totals(x):\n    return 1\nThe end."), "body:\n    def totals(x):\n        return 1\n");
}

TEST(ExtractCode, ProseHasNone) {
  for (const char* answer : {"", "\n\n", "The function adds all numbers and returns the sum.",
                             "It is easy.\n\nOne adds them.", "```python\n```", "```\n\n"})
    EXPECT_EQ(extracted(answer), "nothing") << answer;
}

TEST(ExtractCode, LongAndHostileLinesDoNoHarm) {
  for (const std::string& line :
       {std::string(1 << 20, 'a'), std::string(1 << 20, ' '), "from " + std::string(1 << 20, 'a'),
        std::string(1 << 20, '`'), "for " + std::string(1 << 20, ' ') + ":",
        std::string(400, ' ') + std::string(99, '=')})
    extract_code(line + "\n" + line, kPrompt, "total");
  extract_code(std::string(1 << 16, '\n'), "", "");
  EXPECT_EQ(extract_code("    return 1", "no function here", "total")->code, "no function here\n    return 1\n");
}

TEST(HumanEvalProgram, TestsTheFunction) {
  EXPECT_EQ(humaneval_program("def f(): pass\n", "def check(candidate):\n    assert candidate() == 1\n", "f"),
            "def f(): pass\n\n\ndef check(candidate):\n    assert candidate() == 1\n\n\ncheck(f)\n");
}

}  // namespace
}  // namespace spt
