#include "trainer/eval/same_items.h"

#include <fmt/format.h>

#include "base/error.h"
#include "data/json_text.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

// What must be equal of two folders' samples of a task.
class SameItems {
 public:
  SameItems(fs::path first, fs::path second) : first_(std::move(first)), second_(std::move(second)) {}

  void check(const std::vector<Sample>& first, const std::vector<Sample>& second) const {
    if (first.size() != second.size())
      fail(fmt::format("{} has {} samples, {} has {}", first_.string(), first.size(), second_.string(), second.size()));
    for (size_t i = 0; i < first.size(); ++i) check(first[i], second[i]);
  }

 private:
  [[noreturn]] static void fail(const std::string& what) {
    throw BadInput(what + ": only evaluations of the same items can be compared");
  }

  void check(const Sample& first, const Sample& second) const {
    if (first.id < second.id) fail_id(first, first_, second_);
    if (second.id < first.id) fail_id(second, second_, first_);
    const auto compare = [&](const char* what, const std::string& x, const std::string& y) {
      if (x != y)
        fail(fmt::format("{}:{} and {}:{}: the item {} has another {}", first_.string(), first.line, second_.string(),
                         second.line, brief(first.id), what));
    };
    compare("prompt", first.prompt, second.prompt);
    compare("gold", first.gold, second.gold);
    compare("list of options", first.options, second.options);
    compare("group", brief(first.group ? nlohmann::json(*first.group) : nlohmann::json()),
            brief(second.group ? nlohmann::json(*second.group) : nlohmann::json()));
    compare("number of trained tokens", std::to_string(first.trained_tokens), std::to_string(second.trained_tokens));
  }

  static void fail_id(const Sample& sample, const fs::path& has, const fs::path& lacks) {
    fail(fmt::format("{}:{}: the id {} is not in {}", has.string(), sample.line, brief(sample.id), lacks.string()));
  }

  fs::path first_, second_;
};

}  // namespace

void check_same_items(const fs::path& first_file, const std::vector<Sample>& first, const fs::path& second_file,
                      const std::vector<Sample>& second) {
  SameItems(first_file, second_file).check(first, second);
}

}  // namespace spt
