#include "data/ablation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/data/fake_tokenizer.h"

namespace spt {
namespace {

using ::testing::HasSubstr;

const ChatTemplate kSpt = ChatTemplate::load(SPT_SOURCE_DIR "/configs/templates/spt.yaml");

TEST(Restatement, SentencesOfTheUser_AreLeftOut) {
  EXPECT_EQ(without_restatement("You are a cook. The user wants to boil eggs."), "You are a cook.");
  EXPECT_EQ(without_restatement("You are a cook (retired). The user's eggs burst! You keep calm."),
            "You are a cook (retired). You keep calm.");
  EXPECT_EQ(without_restatement("You are a cook.\nThe user asks: \"Why?\" The user is hungry.\nBe kind."),
            "You are a cook.\nBe kind.");
  EXPECT_EQ(without_restatement("You are Dr. The user"), "You are Dr.");
}

TEST(Restatement, RoleWithoutIt_IsNone) {
  for (const char* role : {"You are a cook.", "You are a cook whom The user asks.", "You are kind. The users wait.",
                           "You are Mr.The user"})
    EXPECT_EQ(without_restatement(role), std::nullopt) << role;
}

TEST(SystemLine, Kinds_ChangeTheTemplate) {
  EXPECT_EQ(with_system(kSpt, "default").text(), kSpt.text());
  EXPECT_EQ(with_system(kSpt, "none").system(), "");
  EXPECT_THAT(with_system(kSpt, "role").system(), HasSubstr("\"You are\""));
  EXPECT_EQ(with_system(kSpt, "Be brief.").system(), "Be brief.");
}

Record record(const std::string& role, const std::string& answer = "\n\nBoil them.") {
  Record made;
  made.turns = {"How?", answer, "And?", "Eat."};
  made.role = role;
  return made;
}

TEST(Filler, Role_HasAsManyTokensAndSaysNothing) {
  const FakeTokenizer tokenizer;
  for (size_t size = 9; size < 200; ++size) {
    Record made = record("You are " + std::string(size - 8, 'q'));
    const size_t wanted = kSpt.encode(made, Arm::kRole, tokenizer).ids.size();
    made.role = filler_role(made, kSpt, tokenizer);
    EXPECT_EQ(kSpt.encode(made, Arm::kRole, tokenizer).ids.size(), wanted) << *made.role;
    EXPECT_THAT(*made.role, ::testing::StartsWith("You are"));
    EXPECT_THAT(*made.role, ::testing::Not(HasSubstr("q")));
  }
}

TEST(Ablation, Switches_ThatChangeNothingAreRefused) {
  const auto error = [](const AblationConfig& config, Arm arm) -> std::string {
    try {
      config.check(arm);
    } catch (const BadInput& bad) {
      return bad.what();
    }
    return "no error";
  };
  EXPECT_EQ(error({}, Arm::kPlain), "no error");
  EXPECT_EQ(error({.system = "none"}, Arm::kPlain), "no error");
  EXPECT_EQ(error({.roles = Roles::kShuffled, .restatement = false, .role_loss = false}, Arm::kRole), "no error");
  EXPECT_THAT(error({.roles = Roles::kFiller}, Arm::kPlain), HasSubstr("--arm plain has none"));
  EXPECT_THAT(error({.restatement = false}, Arm::kPlain), HasSubstr("--no-restatement"));
  EXPECT_THAT(error({.role_loss = false}, Arm::kPlain), HasSubstr("--no-role-loss"));
  EXPECT_THAT(error({.roles = Roles::kGeneric, .restatement = false}, Arm::kRole), HasSubstr("--roles generic"));
}

TEST(Ablation, Json_NamesEverySwitch) {
  EXPECT_EQ(AblationConfig{}.to_json(), R"({"system":"default","roles":"own","restatement":true,"role_loss":true})");
  EXPECT_EQ((AblationConfig{"none", Roles::kFiller, false, false}.to_json()),
            R"({"system":"none","roles":"filler","restatement":false,"role_loss":false})");
}

}  // namespace
}  // namespace spt
