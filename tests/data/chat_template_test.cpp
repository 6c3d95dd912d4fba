#include "data/chat_template.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/data/fake_tokenizer.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const std::string kTemplates = SPT_SOURCE_DIR "/configs/templates/";
const std::string kSystem =
    "A conversation between a user and an AI assistant. The assistant gives helpful, detailed and accurate answers.";

ChatTemplate load(const std::string& name) {
  return ChatTemplate::load(kTemplates + name + ".yaml");
}

Record record(std::vector<std::string> turns, std::optional<std::string> role = {}) {
  Record made;
  made.turns = std::move(turns);
  made.role = std::move(role);
  return made;
}

// The ids read as text, what is trained in brackets.
std::string marked(const EncodedExample& example, const FakeTokenizer& tokenizer) {
  EXPECT_EQ(example.ids.size(), example.trained.size());
  std::string text;
  for (size_t i = 0; i < example.ids.size(); ++i) {
    const bool before = i > 0 && example.trained[i - 1] != 0;
    if (example.trained[i] != 0 && !before) text += "[";
    if (example.trained[i] == 0 && before) text += "]";
    text += tokenizer.piece(example.ids[i]);
  }
  return !example.trained.empty() && example.trained.back() != 0 ? text + "]" : text;
}

std::string error(const std::string& yaml) {
  try {
    ChatTemplate::parse(yaml, "t.yaml");
  } catch (const BadInput& bad) {
    return bad.what();
  }
  return "no error";
}

// A whole template, with one line of it replaced.
std::string yaml_with(const std::string& key, const std::string& line) {
  std::string yaml;
  const std::vector<std::pair<std::string, std::string>> lines = {{"system", "system: S"},
                                                                  {"start", "start: \"{bos}{system}{user}:\""},
                                                                  {"answer", "answer: \" {assistant}{eos}\""},
                                                                  {"next", "next: \"{user}:\""},
                                                                  {"role_prefix", "role_prefix: You are"}};
  for (const auto& [name, text] : lines) yaml += (name == key ? line : text) + "\n";
  return yaml;
}

TEST(ChatTemplate, Encode_WritesTheSampleOfTheRoleArm) {
  const FakeTokenizer tokenizer;
  EXPECT_EQ(
      marked(load("spt").encode(record({"Why?", "Because."}, "You are a cook."), Arm::kRole, tokenizer), tokenizer),
      "<s>_" + kSystem + "\n\nUser: Why?\nAI Assistant:[ You are a cook.\n\nBecause.</s>]");
}

TEST(ChatTemplate, Encode_WritesTheSampleOfThePlainArm) {
  const FakeTokenizer tokenizer;
  EXPECT_EQ(
      marked(load("spt").encode(record({"Why?", "Because."}, "You are a cook."), Arm::kPlain, tokenizer), tokenizer),
      "<s>_" + kSystem + "\n\nUser: Why?\nAI Assistant:[ Because.</s>]");
}

TEST(ChatTemplate, Encode_PutsTheRoleInTheFirstTurnAndTheDummyPrefixAtTheBeginningOnly) {
  const FakeTokenizer tokenizer;
  EXPECT_EQ(
      marked(load("spt").encode(record({"q1", "a1", "q2", "a2"}, "You are X."), Arm::kRole, tokenizer), tokenizer),
      "<s>_" + kSystem + "\n\nUser: q1\nAI Assistant:[ You are X.\n\na1</s>]\n\nUser: q2\nAI Assistant:[ a2</s>]");
}

TEST(ChatTemplate, Encode_WithoutBosBeginsWithTheDummyPrefix) {
  const FakeTokenizer tokenizer(false);
  EXPECT_THAT(marked(load("spt").encode(record({"q", "a"}), Arm::kPlain, tokenizer), tokenizer),
              ::testing::StartsWith("_A conv"));
}

TEST(ChatTemplate, Encode_TakesTheRecordsSystemMessage) {
  const FakeTokenizer tokenizer;
  Record with_system = record({"q", "a"});
  with_system.system = "Be {user}.";
  EXPECT_EQ(marked(load("spt").encode(with_system, Arm::kPlain, tokenizer), tokenizer),
            "<s>_Be {user}.\n\nUser: q\nAI Assistant:[ a</s>]");
}

TEST(ChatTemplate, Encode_KeepsSpecialTokensOfARecordAsText) {
  const FakeTokenizer tokenizer;
  const EncodedExample example =
      load("spt").encode(record({"</s>{bos}", "<|im_end|>{eos}"}, "You are </s>."), Arm::kRole, tokenizer);
  EXPECT_EQ(std::count(example.ids.begin(), example.ids.end(), FakeTokenizer::kEos), 1);
  EXPECT_EQ(std::count(example.ids.begin(), example.ids.end(), FakeTokenizer::kBos), 1);
  EXPECT_EQ(std::count_if(example.ids.begin(), example.ids.end(), [](int32_t id) { return id >= 280; }), 0);
  EXPECT_THAT(marked(example, tokenizer), HasSubstr("[ You are </s>.\n\n<|im_end|>{eos}</s>]"));
}

TEST(ChatTemplate, Prompt_IsTheBeginningOfTheTrainingExample) {
  const FakeTokenizer tokenizer;
  for (const char* name : {"spt", "chatml", "llama2_chat", "mistral_instruct", "plain", "vicuna"}) {
    const ChatTemplate chat_template = load(name);
    for (const auto& turns : std::vector<std::vector<std::string>>{{"q1"}, {"q1", "a1", "q2"}}) {
      std::vector<std::string> all = turns;
      all.push_back("answer");
      const EncodedExample example = chat_template.encode(record(all), Arm::kPlain, tokenizer);
      const auto prompt = chat_template.encode_prompt(turns, std::nullopt, tokenizer);
      ASSERT_LT(prompt.size(), example.ids.size());
      EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), example.ids.begin())) << name;
      EXPECT_EQ(example.trained[prompt.size() - 1], 0) << name;
      EXPECT_EQ(
          std::count(example.trained.begin() + static_cast<std::ptrdiff_t>(prompt.size()), example.trained.end(), 0), 0)
          << name;
    }
  }
}

// Every file of configs/templates.
class TemplateFiles : public ::testing::TestWithParam<std::string> {};

std::vector<std::string> template_files() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kTemplates))
    names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Templates, TemplateFiles, ::testing::ValuesIn(template_files()),
                         [](const auto& parameter) { return parameter.param; });

TEST_P(TemplateFiles, PromptsAreBeginningsOfTraining_StopTokensAreTrained_SpansAreTheAnswers) {
  const FakeTokenizer tokenizer;
  const ChatTemplate chat_template = load(GetParam());
  for (const Arm arm : {Arm::kRole, Arm::kPlain}) {
    const std::string first = arm == Arm::kRole ? "You are X.\n\na1" : "a1";
    const EncodedExample example = chat_template.encode(record({"q1", "a1", "q2", "a2"}, "You are X."), arm, tokenizer);
    std::vector<std::vector<int32_t>> spans;
    std::vector<size_t> begins;
    for (size_t i = 0; i < example.ids.size(); ++i) {
      if (example.trained[i] == 0) continue;
      if (i == 0 || example.trained[i - 1] == 0) {
        spans.emplace_back();
        begins.push_back(i);
      }
      spans.back().push_back(example.ids[i]);
    }
    ASSERT_EQ(spans.size(), 2u);
    EXPECT_EQ(example.context, begins[0]);
    const std::vector<std::vector<std::string>> prompts = {{"q1"}, {"q1", first, "q2"}};
    const std::vector<std::string> answers = {first, "a2"};
    for (size_t turn = 0; turn < 2; ++turn) {
      const auto prompt = chat_template.encode_prompt(prompts[turn], std::nullopt, tokenizer);
      EXPECT_THAT(prompt, ::testing::ElementsAreArray(example.ids.begin(), example.ids.begin() + begins[turn]));
      EXPECT_EQ(std::count(spans[turn].begin(), spans[turn].end(), tokenizer.eos()), 1);
      ASSERT_EQ(spans[turn].back(), tokenizer.eos());
      spans[turn].pop_back();
      EXPECT_EQ(chat_template.split(spans[turn], tokenizer).output, answers[turn]);
    }
    EXPECT_EQ(chat_template.split(spans[0], tokenizer).role.has_value(), arm == Arm::kRole);
  }
}

TEST(ChatTemplate, Vicuna_IsFastChats) {
  const FakeTokenizer tokenizer;
  Record with_system = record({"q1", "a1", "q2", "a2"});
  with_system.system = "s";
  EXPECT_EQ(marked(load("vicuna").encode(with_system, Arm::kPlain, tokenizer), tokenizer),
            "<s>_s USER: q1 ASSISTANT:[ a1</s>]USER: q2 ASSISTANT:[ a2</s>]");
}

TEST(ChatTemplate, Encode_WithoutRoleLossTrainsFromTheAnswerOn) {
  const FakeTokenizer tokenizer;
  const Record made = record({"q1", "\na1", "q2", "a2"}, "You are ü.");
  const EncodedExample with = load("spt").encode(made, Arm::kRole, tokenizer);
  const EncodedExample without = load("spt").encode(made, Arm::kRole, tokenizer, false);
  EXPECT_EQ(with.ids, without.ids);
  EXPECT_THAT(marked(without, tokenizer),
              ::testing::EndsWith("AI Assistant: You are ü.\n\n[\na1</s>]\n\nUser: q2\nAI Assistant:[ a2</s>]"));
  EXPECT_EQ(load("spt").encode(made, Arm::kPlain, tokenizer, false).trained,
            load("spt").encode(made, Arm::kPlain, tokenizer).trained);
}

TEST(ChatTemplate, WithSystem_ChangesThatLineAloneAndItsText) {
  const FakeTokenizer tokenizer;
  const std::string line = "Say \"ü\": {user}, 'x'\nand \\n.";
  const ChatTemplate other = load("spt").with_system(line);
  EXPECT_EQ(other.system(), line);
  const ChatTemplate read = ChatTemplate::parse(other.text(), "again");
  EXPECT_EQ(marked(read.encode(record({"q", "a"}), Arm::kPlain, tokenizer), tokenizer),
            "<s>_" + line + "\n\nUser: q\nAI Assistant:[ a</s>]");
  EXPECT_EQ(marked(load("spt").with_system("").encode(record({"q", "a"}), Arm::kPlain, tokenizer), tokenizer),
            "<s>_User: q\nAI Assistant:[ a</s>]");
  EXPECT_THROW(ChatTemplate::parse(yaml_with("", ""), "t.yaml").with_system(""), BadInput);
}

TEST(ChatTemplate, Parse_RefusesSpansThatCannotBeToldApart) {
  for (const char* start : {"{system}|{user}", "{system}|{user} \\n", "{user}{system}"})
    EXPECT_THAT(error(yaml_with("start", "start: \"" + std::string(start) + "\"")),
                AllOf(HasSubstr("t.yaml:2"), HasSubstr("cannot be told apart")))
        << start;
  EXPECT_THAT(error(yaml_with("next", "next: \"{user}\\n\"")), HasSubstr("cannot be told apart"));
  EXPECT_EQ(error(yaml_with("next", "next: \"{user}{eos}\"")), "no error");
  EXPECT_THAT(error(yaml_with("answer", "answer: \" {assistant}\\n\\n{eos}\"")), HasSubstr("has a blank line behind"));
}

TEST(ChatTemplate, Chatml_TakesItsSpecialTokensFromTheVocabulary) {
  const FakeTokenizer tokenizer(false);
  Record with_system = record({"q1", "a1", "q2", "a2"});
  EXPECT_EQ(marked(load("chatml").encode(with_system, Arm::kPlain, tokenizer), tokenizer),
            "<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\n[a1</"
            "s>]\n<|im_start|>user\nq2<|im_end|>\n<|im_start|>assistant\n[a2</s>]");
  with_system.system = "s";
  EXPECT_THAT(marked(load("chatml").encode(with_system, Arm::kPlain, tokenizer), tokenizer),
              ::testing::StartsWith("<|im_start|>system\ns<|im_end|>\n<|im_start|>user\n"));
}

TEST(ChatTemplate, Llama2Chat_IsMetas) {
  const FakeTokenizer tokenizer;
  Record with_system = record({"q1", "a1", "q2", "a2"});
  EXPECT_EQ(marked(load("llama2_chat").encode(with_system, Arm::kPlain, tokenizer), tokenizer),
            "<s>_[INST] q1 [/INST][ a1 </s>]<s> [INST] q2 [/INST][ a2 </s>]");
  with_system.system = "s";
  EXPECT_THAT(marked(load("llama2_chat").encode(with_system, Arm::kPlain, tokenizer), tokenizer),
              ::testing::StartsWith("<s>_[INST] <<SYS>>\ns\n<</SYS>>\n\nq1 [/INST]["));
}

TEST(ChatTemplate, MistralInstruct_IsMistrals) {
  const FakeTokenizer tokenizer;
  EXPECT_EQ(
      marked(load("mistral_instruct").encode(record({"q1", "a1", "q2", "a2"}), Arm::kPlain, tokenizer), tokenizer),
      "<s>_[INST] q1 [/INST][ a1</s>] [INST] q2 [/INST][ a2</s>]");
}

TEST(ChatTemplate, Encode_RefusesATokenizerWithoutTheSpecialToken) {
  const ChatTemplate chat_template =
      ChatTemplate::parse(yaml_with("next", "next: \"{special:<|x|>}{user}:\""), "t.yaml");
  EXPECT_THROW(chat_template.encode(record({"q", "a", "q", "a"}), Arm::kPlain, FakeTokenizer()), BadInput);
}

TEST(ChatTemplate, Parse_ReadsItsOwnTextAgain) {
  const ChatTemplate chat_template = load("spt");
  EXPECT_EQ(chat_template.text(), ChatTemplate::parse(chat_template.text(), "again").text());
  EXPECT_EQ(chat_template.system(), kSystem);
  EXPECT_EQ(chat_template.role_prefix(), "You are");
}

TEST(ChatTemplate, Parse_TakesDoubledBracesAsBraces) {
  const FakeTokenizer tokenizer;
  const ChatTemplate chat_template =
      ChatTemplate::parse(yaml_with("start", "start: \"{system}{{x}}{user}:\""), "t.yaml");
  EXPECT_EQ(marked(chat_template.encode(record({"q", "a"}), Arm::kPlain, tokenizer), tokenizer), "_S{x}q:[ a</s>]");
}

TEST(ChatTemplate, Parse_RefusesMisplacedPlaceholders) {
  EXPECT_THAT(error(yaml_with("start", "start: \"{system}\"")),
              AllOf(HasSubstr("t.yaml:2"), HasSubstr("{user} is missing")));
  EXPECT_THAT(error(yaml_with("start", "start: \"{user}\"")), HasSubstr("{system} is missing"));
  EXPECT_THAT(error(yaml_with("start", "start: \"{system}{user}{user}\"")), HasSubstr("{user} stands there 2 times"));
  EXPECT_THAT(error(yaml_with("next", "next: \"{system}{user}\"")), HasSubstr("{system} stands there 1 times"));
  EXPECT_THAT(error(yaml_with("next", "next: \"{user}{assistant}\"")), HasSubstr("{assistant} stands there"));
  EXPECT_THAT(error(yaml_with("next", "next: \"{user}{sytem}\"")), HasSubstr("{sytem} is not known"));
  EXPECT_THAT(error(yaml_with("next", "next: \"{user}{special:}\"")), HasSubstr("{special:} is not known"));
  EXPECT_THAT(error(yaml_with("next", "next: \"{user} {\"")), HasSubstr("a { without its }"));
  EXPECT_THAT(error(yaml_with("next", "next: \"{user} }\"")), HasSubstr("a } without its {"));
  EXPECT_THAT(error(yaml_with("next", "")), HasSubstr("template key next: {user} is missing"));
  EXPECT_THAT(error(yaml_with("answer", "answer: \"{assistant}\"")), HasSubstr("must end with {eos}"));
  EXPECT_THAT(error(yaml_with("answer", "answer: \"{eos}\"")), HasSubstr("{assistant} is missing"));
  EXPECT_THAT(error(yaml_with("answer", "answer: \"{user}{assistant}{eos}\"")),
              HasSubstr("may hold text and {assistant} only"));
  EXPECT_THAT(error(yaml_with("role_prefix", "role_prefix: \"\"")), HasSubstr("role_prefix"));
  EXPECT_THAT(error(yaml_with("system", "system: \"\"")), HasSubstr("start_without_system: is missing"));
}

TEST(ChatTemplate, Parse_RefusesAnUnknownKeyWithItsLine) {
  EXPECT_THAT(error(yaml_with("next", "nxt: \"{user}\"")), AllOf(HasSubstr("t.yaml:4"), HasSubstr("nxt")));
}

TEST(ChatTemplate, Parse_RefusesATemplateTooLargeForACorpus) {
  EXPECT_THAT(error("# " + std::string(40'000, 'x') + "\n" + yaml_with("", "")), HasSubstr("the limit is 32000"));
}

class TemplateNames : public ::testing::Test {
 protected:
  void SetUp() override { setenv("SPT_CONFIGS", SPT_SOURCE_DIR "/configs", 1); }
  void TearDown() override { unsetenv("SPT_CONFIGS"); }
};

TEST_F(TemplateNames, Load_FindsANameInTheConfigsFolder) {
  EXPECT_EQ(ChatTemplate::load("spt").text(), load("spt").text());
}

TEST_F(TemplateNames, Load_OfAnUnknownNameListsTheKnownOnes) {
  try {
    ChatTemplate::load("sptt");
    FAIL();
  } catch (const BadInput& bad) {
    EXPECT_THAT(bad.what(),
                AllOf(HasSubstr("\"sptt\""), HasSubstr("chatml, llama2_chat, mistral_instruct, plain, spt")));
  }
}

TEST_F(TemplateNames, Load_RefusesAMissingFileAndAFolder) {
  EXPECT_THROW(ChatTemplate::load("./none.yaml"), BadInput);
  EXPECT_THROW(ChatTemplate::load(kTemplates), BadInput);
}

class Split : public ::testing::Test {
 protected:
  RoleAndAnswer split(const std::string& output) {
    return template_.split(tokenizer_.encode(output, false), tokenizer_);
  }
  const FakeTokenizer tokenizer_;
  const ChatTemplate template_ = load("spt");
};

TEST_F(Split, Output_WithPrefixAndBlankLineHasARole) {
  const RoleAndAnswer result = split(" You are a cook.\n\nBoil it.\n\nThen eat.");
  EXPECT_EQ(result.output, "You are a cook.\n\nBoil it.\n\nThen eat.");
  EXPECT_EQ(result.role, "You are a cook.");
  EXPECT_EQ(result.answer, "Boil it.\n\nThen eat.");
}

TEST_F(Split, Output_WithoutThePrefixIsTheAnswer) {
  const RoleAndAnswer result = split(" Boil it.\n\nYou are done.");
  EXPECT_EQ(result.role, std::nullopt);
  EXPECT_EQ(result.answer, "Boil it.\n\nYou are done.");
}

TEST_F(Split, Output_WithoutABlankLineIsTheAnswer) {
  const RoleAndAnswer result = split(" You are a cook.\nBoil it.");
  EXPECT_EQ(result.role, std::nullopt);
  EXPECT_EQ(result.answer, "You are a cook.\nBoil it.");
}

// One token a byte: the text, its leading space and the blank line's two line ends.
TEST_F(Split, Output_NeedsTheBlankLineWithin200Tokens) {
  const std::string role = "You are " + std::string(kMaxRoleTokens - 3 - 8, 'x');
  EXPECT_EQ(split(" " + role + "\n\na").role, role);
  EXPECT_EQ(split(" " + role + "x\n\na").role, std::nullopt);
  EXPECT_EQ(split(" " + role + "x\n\na").answer, role + "x\n\na");
}

TEST_F(Split, Output_MayEndAfterTheRole) {
  EXPECT_EQ(split(" You are a cook.\n\n").role, "You are a cook.");
  EXPECT_EQ(split(" You are a cook.\n\n").answer, "");
  EXPECT_EQ(split("").answer, "");
}

TEST_F(Split, Output_OfATrainedExampleGivesRoleAndAnswerBack) {
  for (const std::string answer : {"\nBoil it.", "  Boil it. ", "\n\n", "You are right.\n\nBoil."}) {
    const EncodedExample example = template_.encode(record({"q", answer}, "You are\na cook."), Arm::kRole, tokenizer_);
    const auto first = std::find(example.trained.begin(), example.trained.end(), 1) - example.trained.begin();
    const RoleAndAnswer result = template_.split({example.ids.begin() + first, example.ids.end() - 1}, tokenizer_);
    EXPECT_EQ(result.role, "You are\na cook.");
    EXPECT_EQ(result.answer, answer);
  }
}

TEST_F(Split, Output_OfLlama2ChatLosesTheSpaceBeforeItsEos) {
  EXPECT_EQ(load("llama2_chat").split(tokenizer_.encode(" Boil it. ", false), tokenizer_).output, "Boil it.");
}

TEST(Jinja, Text_IsEscapedAndBosLeftOutWhereThereIsNone) {
  const ChatTemplate chat_template =
      ChatTemplate::parse(yaml_with("start", "start: \"{bos}{system}'\\\\\\n{user}:\""), "t.yaml");
  EXPECT_THAT(chat_template.jinja(FakeTokenizer()),
              HasSubstr(R"({{ '<s>' + ' ' + system + '\'\\\n' + message['content'] + ':' }})"));
  EXPECT_THAT(chat_template.jinja(FakeTokenizer(false)),
              HasSubstr(R"({{ system + '\'\\\n' + message['content'] + ':' }})"));
}

// Ids of three samples, by tests/golden/make_template_golden.py, without our code.
class Golden : public ::testing::TestWithParam<std::string> {};

TEST_P(Golden, Encode_GivesTheIdsOfTheOracle) {
  const char* variable = std::getenv("SPT_SHARED_DATA");
  const std::filesystem::path data = variable != nullptr ? variable : SPT_SOURCE_DIR "/../shared/data";
  if (!std::filesystem::exists(data / GetParam()))
    GTEST_SKIP() << "no tokenizer in " << (data / GetParam()) << " (SPT_SHARED_DATA)";
  const auto tokenizer = load_tokenizer(data / GetParam());
  std::ifstream file(SPT_SOURCE_DIR "/tests/golden/template_ids.json");
  const auto golden = nlohmann::json::parse(file);
  const ChatTemplate chat_template = load("spt");
  for (const auto& expected : golden["tokenizers"][GetParam()]) {
    const auto& sample = golden["samples"][expected["sample"].get<size_t>()];
    const Record made =
        record(sample["conversations"].get<std::vector<std::string>>(), sample["role"].get<std::string>());
    const Arm arm = expected["arm"] == "role" ? Arm::kRole : Arm::kPlain;
    const EncodedExample example = chat_template.encode(made, arm, *tokenizer);
    EXPECT_EQ(example.ids, expected["ids"].get<std::vector<int32_t>>()) << expected["sample"] << expected["arm"];
    std::vector<uint8_t> trained(example.ids.size(), 0);
    for (const auto& span : expected["trained"])
      std::fill(trained.begin() + span[0].get<int>(), trained.begin() + span[1].get<int>(), 1);
    EXPECT_EQ(example.trained, trained) << expected["sample"] << expected["arm"];
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, Golden,
                         ::testing::Values("tokenizers/llama2", "tokenizers/mistral_v0.1",
                                           "weights/smollm2-135m-instruct", "weights/tinystories-656K-hf"),
                         [](const auto& parameter) {
                           std::string name = parameter.param.substr(parameter.param.find('/') + 1);
                           std::replace_if(
                               name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
                           return name;
                         });

}  // namespace
}  // namespace spt
