#include "data/annotator.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/sha256.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Optional;

constexpr const char* kAnnotator =
    "system: S\n"
    "example: {question: eq, role: You are one}\n"
    "question: \"Q {question} {x}\"\n"
    "correction: \"no, {fault}\"\n"
    "checks:\n"
    "  min_words: 3\n"
    "  max_words: 12\n"
    "  refusals: ['(?i)\\bsorry\\b']\n"
    "  not_a_role: ['```', '^- ']\n"
    "  max_sentences: 3\n"
    "  repeated_words: 4\n"
    "  answer_words: 3\n"
    "neutral: {role: You are by hand, answers: ['\\AIt is illegal'], ids: [r7]}\n";

Record record(const std::string& question, const std::string& answer, const std::string& id = "1") {
  Record made;
  made.id = id;
  made.turns = {question, answer, "second question", "second answer"};
  return made;
}

class AnnotatorFile : public testing::Test {
 protected:
  Annotator load(const std::string& yaml) { return Annotator(folder_.put("a.yaml", yaml).string()); }
  std::string error_with(const std::string& line, const std::string& by) {
    std::string yaml = kAnnotator;
    yaml.replace(yaml.find(line), line.size(), by);
    try {
      load(yaml);
    } catch (const BadInput& error) {
      return error.what();
    }
    return "no error";
  }
  std::string fault(const std::string& role, const Record& of = record("q", "a")) {
    return load(kAnnotator).fault_of(role, of).value_or("none");
  }
  TemporaryFolder folder_;
};

TEST_F(AnnotatorFile, Prompt_PutsTheExampleThenTheFirstQuestionOnly) {
  const ChatPrompt prompt = load(kAnnotator).prompt(record("first", "hidden"), {});
  EXPECT_EQ(prompt.system, "S");
  EXPECT_THAT(prompt.turns, ElementsAre("Q eq {x}", "You are one", "Q first {x}"));
}

TEST_F(AnnotatorFile, Prompt_DoesNotFillPlaceholdersInAQuestion) {
  EXPECT_EQ(load(kAnnotator).prompt(record("{question} {fault}", "a"), {}).turns[2], "Q {question} {fault} {x}");
}

TEST_F(AnnotatorFile, Prompt_GoesOnWithEachRefusedAnswerAndItsCorrection) {
  const ChatPrompt prompt = load(kAnnotator).prompt(record("q", "a"), {{"bad", "too short"}, {"", "it is empty"}});
  EXPECT_THAT(prompt.turns, ElementsAre("Q eq {x}", "You are one", "Q q {x}", "bad", "no, too short", "(nothing)",
                                        "no, it is empty"));
}

TEST_F(AnnotatorFile, FaultOf_AcceptsARole) {
  EXPECT_EQ(fault("You are a cook."), "none");
  EXPECT_EQ(fault("You are a cook.\nYou know rice."), "none");
}

TEST_F(AnnotatorFile, FaultOf_NamesWhatIsWrong) {
  EXPECT_EQ(fault(""), "it is empty");
  EXPECT_EQ(fault("A cook you are."), "it does not begin with \"You are\"");
  EXPECT_EQ(fault("Sorry, I cannot."), "it is a refusal (\"Sorry\")");
  EXPECT_EQ(fault("You are a\n \ncook."), "it has a blank line in it");
  EXPECT_EQ(fault("You are a cook\n- one"), "it holds more than a role (\"- \")");
  EXPECT_EQ(fault("You are"), "it has 2 words, expected 3 to 12");
  EXPECT_EQ(fault("You are 3 4 5 6 7 8 9 10 11 12"), "none");
  EXPECT_EQ(fault("You are 3 4 5 6 7 8 9 10 11 12 13"), "it has 13 words, expected 3 to 12");
}

TEST_F(AnnotatorFile, FaultOf_FindsRepetition) {
  EXPECT_EQ(fault("You are a the the the the."), "none");
  EXPECT_EQ(fault("You are a the the the the the."), "it repeats itself (\"the the the the\")");
  EXPECT_EQ(fault("You are a cook. You ARE a cook!"), "it repeats itself (\"you are a cook\")");
  EXPECT_EQ(fault("You are a cook. You are a baker."), "none");
}

TEST_F(AnnotatorFile, FaultOf_CountsSentences) {
  EXPECT_EQ(fault("You are one. You cook! Do you? "), "none");
  EXPECT_EQ(fault("You are one. You cook! Do you? Yes."), "it has 4 sentences, expected at most 3");
}

TEST_F(AnnotatorFile, FaultOf_LooksForNoRepetitionWhereThatIsSwitchedOff) {
  std::string yaml = kAnnotator;
  yaml.replace(yaml.find("repeated_words: 4"), 17, "repeated_words: 0");
  EXPECT_EQ(load(yaml).fault_of("You are a the the the the the.", record("q", "a")), std::nullopt);
}

TEST_F(AnnotatorFile, FaultOf_FindsTheAnswersWordsWhateverTheirPunctuation) {
  EXPECT_EQ(fault("You are: RINSE the rice, twice.", record("q", "First rinse the rice and wait")),
            "it holds answer text (\"rinse the rice\")");
  EXPECT_EQ(fault("You are: rinse the pan.", record("q", "First rinse the rice")), "none");
}

TEST_F(AnnotatorFile, FaultOf_LetsARoleRestateTheQuestion) {
  EXPECT_EQ(fault("You are told to rinse the rice.", record("How to rinse the rice?", "To rinse the rice, pour")),
            "none");
}

TEST_F(AnnotatorFile, NeutralRole_IsForRecordsThatRefuseAndThoseThatAreNamed) {
  const Annotator annotator = load(kAnnotator);
  EXPECT_THAT(annotator.neutral_role(record("q", "It is illegal to rob.")), Optional(std::string("You are by hand")));
  EXPECT_THAT(annotator.neutral_role(record("q", "a", "r7")), Optional(std::string("You are by hand")));
  EXPECT_EQ(annotator.neutral_role(record("It is illegal?", "No. It is illegal elsewhere.")), std::nullopt);
}

TEST_F(AnnotatorFile, Sha256_IsOfTheFile) {
  EXPECT_EQ(load(kAnnotator).sha256(), sha256_hex(kAnnotator));
}

TEST_F(AnnotatorFile, Load_RefusesWhatCannotWorkWithTheLine) {
  EXPECT_THAT(error_with("system: S", "sytem: S"), AllOf(HasSubstr("a.yaml:1"), HasSubstr("system")));
  EXPECT_THAT(error_with("Q {question}", "Q"), AllOf(HasSubstr("a.yaml:3"), HasSubstr("{question} 0 times")));
  EXPECT_THAT(error_with("{fault}", "{fault}{fault}"), AllOf(HasSubstr("a.yaml:4"), HasSubstr("{fault} 2 times")));
  EXPECT_THAT(error_with("'```'", "'(a'"), AllOf(HasSubstr("a.yaml:9: checks.not_a_role"), HasSubstr("(a")));
  EXPECT_THAT(error_with("max_words: 12", "max_words: 2"), AllOf(HasSubstr("a.yaml:7"), HasSubstr("min_words")));
  EXPECT_THAT(error_with("max_sentences: 3", "max_sentences: 0"),
              AllOf(HasSubstr("a.yaml:10: checks.max_sentences is 0"), HasSubstr("at least 1")));
  EXPECT_THAT(error_with("repeated_words: 4", "repeated_words: -1"),
              AllOf(HasSubstr("a.yaml:11: checks.repeated_words is -1"), HasSubstr("at least 0")));
  EXPECT_THAT(error_with("You are by hand", "You are by hand by hand by hand"),
              AllOf(HasSubstr("neutral.role"), HasSubstr("repeats itself")));
  EXPECT_THAT(error_with("You are one", "You are"), AllOf(HasSubstr("a.yaml:2: example.role"), HasSubstr("2 words")));
  EXPECT_THAT(error_with("role: You are by hand, ", ""),
              AllOf(HasSubstr("a.yaml: "), HasSubstr("neutral.role is missing")));
  EXPECT_THAT(error_with("checks:", "attempts: 0\nchecks:"), HasSubstr("attempts is 0"));
}

TEST(AnnotatorOfTheProject, Load_TakesItsOwnFile) {
  const Annotator annotator(SPT_SOURCE_DIR "/configs/annotators/role_prompt.yaml");
  EXPECT_EQ(annotator.config().attempts, 3);
  EXPECT_EQ(annotator.config().checks.min_words, 25);
  EXPECT_EQ(annotator.config().checks.max_words, 120);
}

TEST(AnnotatorOfTheProject, FaultOf_FindsTheUsualRefusalsAndAnswers) {
  const Annotator annotator(SPT_SOURCE_DIR "/configs/annotators/role_prompt.yaml");
  const std::string role = annotator.config().example.role;
  for (const char* tail : {" I’m sorry, but no.", " I can't help with that.", " I cannot assist with this.",
                           " As an AI language model I stop here."})
    EXPECT_THAT(annotator.fault_of(role + tail, record("q", "a")), Optional(HasSubstr("refusal"))) << tail;
  for (const char* tail : {"\n```c", "\n- first", "\n1. first", "\n## Answer", " The answer is 42."})
    EXPECT_THAT(annotator.fault_of(role + tail, record("q", "a")), Optional(HasSubstr("more than a role"))) << tail;
  EXPECT_EQ(annotator.fault_of(role, record("q", "a")), std::nullopt);
}

TEST(AnnotatorOfTheProject, FaultOf_RefusesWhatDegenerateModelsWrite) {
  const Annotator annotator(SPT_SOURCE_DIR "/configs/annotators/role_prompt.yaml");
  const auto times = [](int count, const std::string& text) {
    std::string all;
    for (int i = 0; i < count; ++i) all += text;
    return all;
  };
  for (const std::string& text :
       {"You are a" + times(40, " the"), "You are an expert" + times(12, " in the field of"),
        times(4, "You are an expert who knows this field well. "), times(14, "You are kind. ")})
    EXPECT_THAT(annotator.fault_of(text, record("q", "a")), Optional(HasSubstr("repeats itself"))) << text;
  EXPECT_THAT(annotator.fault_of("You are a cook. You know rice. You know beans and what they need. You like salt. You "
                                 "often stir. You never burn what is in a pan. The user wants soup.",
                                 record("q", "a")),
              Optional(HasSubstr("7 sentences")));
}

}  // namespace
}  // namespace spt
