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

Sample read_sample(const json& object, const std::string& where, const TaskResult& result) {
  const Fields fields(object, where);
  Sample sample;
  sample.id = fields.text("id");
  if (result.is_perplexity()) {
    sample.score = fields.number("nll", 1e300);
    sample.trained_tokens = fields.count("trained_tokens");
    return sample;
  }
  sample.prompt = fields.text("prompt");
  if (object.contains("group") && !object["group"].is_null()) sample.group = fields.text("group");
  if (!result.has_scores()) return sample;
  sample.gold = fields.at("gold").dump();
  if (object.contains("options")) sample.options = object["options"].dump();
  sample.score = fields.number("score", 1);
  return sample;
}

AnsweredSample read_answered(const json& object, const std::string& where, const TaskResult& result) {
  const Fields fields(object, where);
  AnsweredSample sample;
  static_cast<Sample&>(sample) = read_sample(object, where, result);
  const auto text = [&](const char* key) -> std::optional<std::string> {
    if (!object.contains(key) || object[key].is_null()) return std::nullopt;
    return fields.text(key);
  };
  const auto flag = [&](const char* key) -> std::optional<bool> {
    if (!object.contains(key)) return std::nullopt;
    if (!object[key].is_boolean())
      fields.fail(fmt::format("\"{}\" is {}, expected a boolean", key, brief(object[key])));
    return object[key].get<bool>();
  };
  sample.output = text("output");
  sample.role = text("role");
  sample.role_is_given = flag("role_is_given").value_or(false);
  sample.answer = text("answer");
  sample.conclusion = text("conclusion");
  sample.extracted = text("extracted");
  sample.asks_for_extraction = object.contains("extracted");
  sample.cut = flag("cut");
  sample.outcome = text("outcome");
  if (object.contains("loglikelihoods"))
    for (const json& value : object["loglikelihoods"]) {
      if (!value.is_number()) fields.fail(fmt::format("\"loglikelihoods\" has {}, expected numbers", brief(value)));
      sample.loglikelihoods.push_back(value.get<double>());
    }
  return sample;
}

template <class T>
void check_unique_ids(const std::vector<T>& samples, const fs::path& file) {
  const auto twice =
      std::adjacent_find(samples.begin(), samples.end(), [](const T& x, const T& y) { return x.id == y.id; });
  if (twice == samples.end()) return;
  const auto [first, second] = std::minmax(twice->line, (twice + 1)->line);
  throw BadInput(fmt::format("{}:{}: the id {} stands in line {} too", file.string(), second, brief(twice->id), first));
}

// The samples of a task by id, each made by `read(object, file:line, result)`.
template <class T, class Read>
std::vector<T> read_each(const fs::path& folder, const std::string& task, const TaskResult& result, Read read) {
  const fs::path path = samples_file(folder, task);
  if (std::error_code error; !fs::is_regular_file(path, error))
    throw BadInput(
        fmt::format("{}: is no file, and results.json has the task {}: the evaluation is not whole; remove "
                    "results.json and run spt eval again",
                    path.string(), brief(task)));
  std::ifstream file(path, std::ios::binary);
  std::vector<T> samples;
  int64_t line = 0;
  for (std::string text; std::getline(file, text);) {
    const std::string where = fmt::format("{}:{}", path.string(), ++line);
    samples.push_back(read(parse_json_object(text, where), where, result));
    samples.back().line = line;
  }
  if (file.bad() || !file.eof()) throw BadInput(fmt::format("{}: cannot be read", path.string()));
  std::sort(samples.begin(), samples.end(), [](const T& x, const T& y) { return x.id < y.id; });
  check_unique_ids(samples, path);
  const auto n = std::count_if(samples.begin(), samples.end(), [](const T& s) { return s.trained_tokens > 0; });
  if (n != result.n)
    throw BadInput(
        fmt::format("{}: has {} samples that count, and results.json says n = {}: the evaluation is not "
                    "whole; remove results.json and run spt eval again",
                    path.string(), n, result.n));
  return samples;
}

json parse_results(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error))
    throw BadInput(fmt::format("{}: is no folder; expected an evaluation folder: spt eval's run.dir", folder.string()));
  const fs::path file = folder / "results.json";
  if (!fs::exists(file, error))
    throw BadInput(
        fmt::format("{}: is not there: {} is no evaluation folder (spt eval's run.dir), or its evaluation has not "
                    "finished",
                    file.string(), folder.string()));
  return parse_json_object(read_file(file), file.string());
}

}  // namespace

json read_settings(const fs::path& folder) {
  return parse_results(folder).value("settings", json());
}

std::string evaluation_of(const fs::path& folder) {
  const json results = parse_results(folder);
  return results.contains("evaluation") && results["evaluation"].is_string() ? results["evaluation"].get<std::string>()
                                                                             : "";
}

std::map<std::string, TaskResult> read_results(const fs::path& folder) {
  const fs::path file = folder / "results.json";
  const json results = parse_results(folder);
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
  return read_each<Sample>(folder, task, result, read_sample);
}

std::vector<AnsweredSample> read_answered_samples(const fs::path& folder, const std::string& task,
                                                  const TaskResult& result) {
  return read_each<AnsweredSample>(folder, task, result, read_answered);
}

void refuse_groups(const Sample& first, const Sample& other, const fs::path& file) {
  const auto [with, without] = first.group ? std::pair(first.line, other.line) : std::pair(other.line, first.line);
  throw BadInput(fmt::format("{}: line {} has a group and line {} has none; all samples have one or none does",
                             file.string(), with, without));
}

}  // namespace spt
