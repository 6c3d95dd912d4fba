#include "trainer/same_view.h"

#include <gmock/gmock.h>

#include "tests/ranks.h"
#include "tests/temporary_folder.h"
#include "tests/trainer/messages.h"

namespace spt {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(SameView, WhereARankSeesSomethingElse_NamesItsHostAndWhat) {
  const int last = job().size() - 1;
  const std::string hash = job().rank() == last && last > 0 ? "other" : "same";
  const std::string message = bad_input_of([&] {
    check_same_view(job(), {{"model m", "same"}, {"corpus c.h5", hash}});
  });
  if (last == 0)
    EXPECT_EQ(message, "nothing was thrown");
  else
    EXPECT_THAT(message, AllOf(HasSubstr("host " + job().hosts()[static_cast<size_t>(last)] +
                                         " does not see the same corpus c.h5 as rank 0"),
                               Not(HasSubstr("model m")), HasSubstr("every host needs the same files")));
}

TEST(SameView, Hashes_TellContentLengthAndAbsence) {
  const TemporaryFolder folder;
  const auto of = [&](const std::string& bytes) { return hash_file_ends(folder.put("file", bytes)); };
  EXPECT_EQ(of("abc"), of("abc"));
  EXPECT_NE(of("abc"), of("abd"));
  std::string large(3 << 20, 'x');
  const std::string before = of(large);
  EXPECT_NE(of(large + "x"), before);
  large.back() = 'y';
  EXPECT_NE(of(large), before);
  EXPECT_EQ(hash_file_ends(folder / "none"), "missing");
  EXPECT_EQ(hash_folder(folder / "none"), "missing");

  const std::string one = hash_folder(folder.path());
  folder.put("more", "");
  EXPECT_NE(hash_folder(folder.path()), one);
}

}  // namespace
}  // namespace spt
