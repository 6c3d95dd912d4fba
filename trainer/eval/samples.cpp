#include "trainer/eval/samples.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/read_file.h"
#include "data/json_text.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// JSON of ours is flat; a hostile one may be nested deeper than the stack allows.
constexpr int kMaxDepth = 32;

// `where` stands in front of messages: the file, or file:line.
json parse_object(const std::string& text, const std::string& where) {
  const auto fail = [&](const std::string& reason) { throw BadInput(fmt::format("{}: {}", where, reason)); };
  auto unique = unique_keys([&](const std::string& key) { fail(fmt::format("has the field {} twice", brief(key))); });
  const auto check = [&](int depth, json::parse_event_t event, const json& parsed) {
    if (depth > kMaxDepth) fail(fmt::format("is nested more than {} deep", kMaxDepth));
    return unique(depth, event, parsed);
  };
  try {
    json value = json::parse(text, check);
    if (!value.is_object()) fail(fmt::format("is {}, expected a JSON object", brief(value)));
    return value;
  } catch (const json::exception& error) {
    throw BadInput(fmt::format("{}: broken JSON: {}", where, json_reason(error)));
  }
}

// The field of an object that spt eval wrote.
class Fields {
 public:
  Fields(const json& object, std::string where) : object_(object), where_(std::move(where)) {}

  [[noreturn]] void fail(const std::string& reason) const { throw BadInput(fmt::format("{}: {}", where_, reason)); }

  const json& at(const char* key) const {
    if (!object_.contains(key))
      fail(fmt::format("the field \"{}\" is missing, without which nothing can be compared; --tasks chooses tasks",
                       key));
    return object_[key];
  }
  std::string text(const char* key) const {
    const json& value = at(key);
    if (!value.is_string()) fail(fmt::format("\"{}\" is {}, expected text", key, brief(value)));
    return value.get<std::string>();
  }
  double number(const char* key, double largest) const {
    const json& value = at(key);
    if (!value.is_number()) fail(fmt::format("\"{}\" is {}, expected a number", key, brief(value)));
    const auto number = value.get<double>();
    if (!(number >= 0 && number <= largest))
      fail(fmt::format("\"{}\" is {}, expected a number from 0 to {}", key, brief(value), largest));
    return number;
  }
  int64_t count(const char* key) const {
    constexpr double kLargest = 1e15;  // exact as a double
    if (!at(key).is_number_integer()) fail(fmt::format("\"{}\" is {}, expected a whole number", key, brief(at(key))));
    return static_cast<int64_t>(number(key, kLargest));
  }

 private:
  const json& object_;
  std::string where_;
};

Sample read_sample(const json& object, const std::string& where, bool is_perplexity) {
  const Fields fields(object, where);
  Sample sample;
  sample.id = fields.text("id");
  if (is_perplexity) {
    sample.score = fields.number("nll", 1e300);
    sample.trained_tokens = fields.count("trained_tokens");
    return sample;
  }
  sample.prompt = fields.text("prompt");
  sample.gold = fields.at("gold").dump();
  if (object.contains("options")) sample.options = object["options"].dump();
  sample.score = fields.number("score", 1);
  if (object.contains("group") && !object["group"].is_null()) sample.group = fields.text("group");
  return sample;
}

void check_unique_ids(const std::vector<Sample>& samples, const fs::path& file) {
  const auto twice =
      std::adjacent_find(samples.begin(), samples.end(), [](const Sample& x, const Sample& y) { return x.id == y.id; });
  if (twice == samples.end()) return;
  const auto [first, second] = std::minmax(twice->line, (twice + 1)->line);
  throw BadInput(fmt::format("{}:{}: the id {} stands in line {} too", file.string(), second, brief(twice->id), first));
}

}  // namespace

std::map<std::string, TaskResult> read_results(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error))
    throw BadInput(fmt::format("{}: is no folder; expected an evaluation folder: spt eval's run.dir", folder.string()));
  const fs::path file = folder / "results.json";
  if (!fs::exists(file, error))
    throw BadInput(
        fmt::format("{}: is not there: {} is no evaluation folder (spt eval's run.dir), or its evaluation has not "
                    "finished",
                    file.string(), folder.string()));
  const json results = parse_object(read_file(file), file.string());
  const json& tasks = Fields(results, file.string()).at("tasks");
  if (!tasks.is_object())
    throw BadInput(fmt::format("{}: \"tasks\" is {}, expected an object", file.string(), brief(tasks)));
  std::map<std::string, TaskResult> found;
  for (const auto& [name, value] : tasks.items()) {
    const std::string where = fmt::format("{}: task {}", file.string(), brief(name));
    if (name.empty() || name.find('/') != std::string::npos)
      throw BadInput(where + ": a task's name must be a word without /");
    if (!value.is_object()) throw BadInput(fmt::format("{}: is {}, expected an object", where, brief(value)));
    const Fields fields(value, where);
    found[name] = {fields.text("metric"), value.contains("shots") ? fields.count("shots") : 0, fields.count("n")};
  }
  return found;
}

fs::path samples_file(const fs::path& folder, const std::string& task) {
  return folder / "samples" / (task + ".jsonl");
}

std::vector<Sample> read_samples(const fs::path& folder, const std::string& task, const TaskResult& result) {
  const fs::path path = samples_file(folder, task);
  if (std::error_code error; !fs::is_regular_file(path, error))
    throw BadInput(
        fmt::format("{}: is no file, and results.json has the task {}: the evaluation is not whole; run spt "
                    "eval again",
                    path.string(), brief(task)));
  std::ifstream file(path, std::ios::binary);
  std::vector<Sample> samples;
  int64_t line = 0;
  for (std::string text; std::getline(file, text);) {
    const std::string where = fmt::format("{}:{}", path.string(), ++line);
    samples.push_back(read_sample(parse_object(text, where), where, result.is_perplexity()));
    samples.back().line = line;
  }
  if (file.bad() || !file.eof()) throw BadInput(fmt::format("{}: cannot be read", path.string()));
  std::sort(samples.begin(), samples.end(), [](const Sample& x, const Sample& y) { return x.id < y.id; });
  check_unique_ids(samples, path);
  const auto n = std::count_if(samples.begin(), samples.end(), [](const Sample& s) { return s.trained_tokens > 0; });
  if (n != result.n)
    throw BadInput(
        fmt::format("{}: has {} samples that count, and results.json says n = {}: the evaluation is not "
                    "whole; run spt eval again",
                    path.string(), n, result.n));
  return samples;
}

}  // namespace spt
