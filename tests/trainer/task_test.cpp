// Task files: what is read of them, and those that ship with the project against the authors' files where these are at
// hand (../shared/data, or $SPT_SHARED_DATA).
#include "trainer/eval/task.h"

#include <cstdlib>
#include <map>

#include <gmock/gmock.h>

#include "base/error.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

const fs::path kTasks = fs::path(SPT_SOURCE_DIR) / "configs" / "tasks";

std::string load_error(const std::string& yaml) {
  const TemporaryFolder folder;
  try {
    load_task(folder.put("t.yaml", yaml));
  } catch (const BadInput& error) {
    return error.what();
  }
  return "no error";
}

TEST(Task, Load_RefusesWhatItsKindLacks) {
  EXPECT_THAT(load_error("name: t\nkind: choice\ndata: {path: a}\n"), HasSubstr("t.yaml: prompt is missing"));
  EXPECT_THAT(load_error("name: t\nkind: open\ndata: {path: a}\nprompt: \"{q\"\n"),
              AllOf(HasSubstr("t.yaml:4"), HasSubstr("a { without its }")));
  EXPECT_THAT(load_error("name: t\nkind: open\nprompt: q\n"), HasSubstr("data.path is missing"));
  EXPECT_THAT(load_error("name: t\nkind: open\nprompt: q\ndata: {path: a, columns: [b]}\n"),
              HasSubstr("data.columns is for format csv only"));
  EXPECT_THAT(load_error("name: t\nkind: open\nprompt: q\ndata: {path: a, records: b}\n"),
              HasSubstr("data.records is for format json only"));
  EXPECT_THAT(load_error("name: t\nkind: open\nprompt: q\ndata: {path: /etc/passwd}\n"),
              HasSubstr("t.yaml:4: data.path is /etc/passwd, must lie below eval.data.root"));
  EXPECT_THAT(load_error("name: t\nkind: open\nprompt: q\ndata: {path: a}\nshots: {path: a/../../b}\n"),
              HasSubstr("shots.path is a/../../b, must lie below eval.data.root"));
  EXPECT_THAT(load_error("name: t\nkind: riddle\ndata: {path: a}\n"), HasSubstr("t.yaml:2"));
}

TEST(Task, Questions_ArePromptsWithTheRecordsFields) {
  const TemporaryFolder folder;
  folder.put("q.jsonl", "{\"id\": 5, \"q\": \"Why?\"}\n{\"id\": 6, \"q\": \"How?\"}\n");
  folder.put("t.yaml", "name: t\nkind: open\ndata: {path: q.jsonl}\nid: id\nprompt: \"Say: {q}\"\n");
  const auto questions = read_questions(load_task(folder / "t.yaml"), folder.path());
  ASSERT_EQ(questions.size(), 2U);
  EXPECT_EQ(questions[1].id, "6");
  EXPECT_EQ(questions[1].text, "Say: How?");
}

TEST(ShippedTasks, AllLoadAndAreCalledAsTheirFiles) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(kTasks)) {
    EXPECT_EQ(load_task(entry.path()).name, entry.path().stem().string());
    ++count;
  }
  EXPECT_GE(count, 11);
}

TEST(ShippedTasks, ReadAllQuestionsOfTheAuthorsFiles) {
  const char* folder = std::getenv("SPT_SHARED_DATA");
  const fs::path data = folder != nullptr ? fs::path(folder) : fs::path(SPT_SOURCE_DIR) / ".." / "shared" / "data";
  if (!fs::exists(data / "bench"))
    GTEST_SKIP() << data / "bench"
                 << " is not there";
  const std::map<std::string, size_t> items = {{"gsm8k", 1319},         {"mmlu", 14'042},    {"strategyqa", 2290},
                                               {"commonsenseqa", 1221}, {"openbookqa", 500}, {"arc_challenge", 1150},
                                               {"truthfulqa_mc1", 817}, {"humaneval", 164},  {"vicuna_open", 80}};
  for (const auto& [name, count] : items)
    EXPECT_EQ(read_questions(load_task(kTasks / (name + ".yaml")), data / "bench").size(), count) << name;
  EXPECT_EQ(read_questions(load_task(kTasks / "lima_open.yaml"), data).size(), 300U);
}

}  // namespace
}  // namespace spt
