#include "data/role_from.h"

#include <gtest/gtest.h>

namespace spt {
namespace {

TEST(RoleFrom, ALeadingArticleIsLoweredAndAFullStopEndsIt) {
  EXPECT_EQ(role_from("An expert in birds", "You are {}"), "You are an expert in birds.");
  EXPECT_EQ(role_from("A cook.", "You are {}"), "You are a cook.");
  EXPECT_EQ(role_from("The owner!", "You are {}"), "You are the owner!");
  EXPECT_EQ(role_from("a cook?", "You are {}"), "You are a cook?");
}

TEST(RoleFrom, OtherWordsKeepTheirCase) {
  EXPECT_EQ(role_from("Anthropologists' friend", "You are {}"), "You are Anthropologists' friend.");
  EXPECT_EQ(role_from("Ada Lovelace", "You are {}"), "You are Ada Lovelace.");
}

TEST(RoleFrom, LineBreaksAndRunsOfBlanksBecomeOneBlank) {
  EXPECT_EQ(role_from(" A cook.\n\nThey\tknow   rice ", "You are {}"), "You are a cook. They know rice.");
}

TEST(RoleFrom, TheWordingStandsAround) {
  EXPECT_EQ(role_from("A cook", "You are {} Answer well."), "You are a cook. Answer well.");
  EXPECT_EQ(role_from("You are a cook", "You are {} Answer well."), "You are a cook.");
}

TEST(RoleFrom, TheThirdPersonIsFoundWhereItOpensAClause) {
  EXPECT_EQ(third_person_in("You are a cook. They know rice, and salt."), "They know rice");
  EXPECT_EQ(third_person_in("You are a poet, he, of old."), "he");
  EXPECT_EQ(third_person_in("You are a cook; their work is known."), "their work is known");
  for (const char* role : {"You are a cook.", "You are a cook. You help people with their taxes.",
                           "You are a theorist, theirs alone.", "You are a guide. Hers is the way."})
    EXPECT_EQ(third_person_in(role), std::nullopt) << role;
}

}  // namespace
}  // namespace spt
