#include "trainer/eval/task_items.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/fields.h"
#include "data/field_text.h"
#include "data/text_hash.h"
#include "data/tokenizer_pattern.h"
#include "trainer/eval/extract.h"

namespace spt {
namespace {

using nlohmann::json;

struct Option {
  std::string text, label;
  bool is_gold = false;  // said by the options themselves
};

std::vector<Option> options_of(const json& record, const TaskOptions& config) {
  std::vector<Option> options;
  for (const std::string& field : config.fields_of) options.push_back({field_text(record, field), ""});
  if (config.from.empty()) return options;
  const json* list = find_field(record, config.from);
  if (list == nullptr) throw BadInput(fmt::format("has no field '{}'", config.from));
  if (list->is_object()) {
    for (const auto& [text, value] : list->items()) options.push_back({text, "", value == 1});
  } else if (list->is_array()) {
    for (const json& entry : *list) {
      if (entry.is_string())
        options.push_back({entry.get<std::string>(), ""});
      else
        options.push_back(
            {field_text(entry, config.text), config.label.empty() ? "" : field_text(entry, config.label)});
    }
  } else {
    throw BadInput(fmt::format("'{}' is no list of options", config.from));
  }
  return options;
}

// Fisher–Yates by numbers that hang on the seed and the record alone.
void shuffle(std::vector<Option>& options, uint64_t seed, const std::string& id) {
  uint64_t state = text_hash(id, seed);
  for (size_t i = options.size(); i > 1; --i) {
    state = mix_bits(state + 0x9E3779B97F4A7C15ULL);
    std::swap(options[i - 1], options[state % i]);
  }
}

std::optional<size_t> place_of(const std::string& gold, const std::vector<Option>& options) {
  const auto find = [&](auto&& is) -> std::optional<size_t> {
    const auto found = std::find_if(options.begin(), options.end(), is);
    return found == options.end() ? std::nullopt : std::optional(static_cast<size_t>(found - options.begin()));
  };
  if (const auto place = find([&](const Option& option) { return option.label == gold && !gold.empty(); }))
    return place;
  if (gold.size() == 1 && gold[0] >= 'A' && gold[0] < 'A' + static_cast<char>(options.size()))
    return static_cast<size_t>(gold[0] - 'A');
  int64_t index = 0;
  const auto by_text = find([&](const Option& option) { return option.text == gold; });
  if (parse_scalar(gold, index).empty() && index >= 0 && index < static_cast<int64_t>(options.size())) {
    const auto by_index = static_cast<size_t>(index);
    if (by_text && *by_text != by_index)
      throw BadInput(
          fmt::format("gold is '{}', which is the text of option {} and the number of option {} (from 0): give the "
                      "options labels (options.label), or gold as a letter",
                      gold, option_letter(*by_text), option_letter(by_index)));
    return by_index;
  }
  return by_text;
}

std::string normalised(const std::string& gold, const Task& task) {
  const std::string lower = gold == "true" || gold == "True" ? "yes" : gold == "false" || gold == "False" ? "no" : gold;
  if (task.kind != TaskKind::kGenerate) return gold;
  const auto found = Extractor(task.extract).find(task.extract == "yes_no" ? lower : gold, 0);
  // A gold answer is often bare where the pattern expects a sentence around it.
  if (!found && (task.extract == "number" || task.extract == "yes_no"))
    throw BadInput(
        fmt::format("gold is '{}', in which there is no {}", gold, task.extract == "number" ? "number" : "yes or no"));
  return task.extract == "number" || task.extract == "yes_no" ? found->value : gold;
}

std::string listed(const std::vector<Option>& options, OptionList list) {
  if (list == OptionList::kNone) return "";
  std::string text = list == OptionList::kInline ? " Answer Choices:" : "";
  for (size_t i = 0; i < options.size(); ++i)
    text += fmt::format(fmt::runtime(list == OptionList::kInline ? " ({}) {}" : "\n{}. {}"), option_letter(i),
                        options[i].text);
  return text;
}

class Reader {
 public:
  explicit Reader(const Task& task) : task_(task), prompt_(task.prompt), gold_(task.gold), role_(task.role) {
    if (!task.gold_pattern.empty()) gold_pattern_.emplace(task.gold_pattern);
    if (!task.group_pattern.empty()) group_pattern_.emplace(task.group_pattern);
  }

  TaskItem item(const TaskRecord& record) const {
    TaskItem item;
    item.id = record.id;
    if (!task_.group.empty())
      item.group = within(task_.group == "file" ? record.file.stem().string() : field_text(record.fields, task_.group),
                          group_pattern_, "group_pattern", task_.group_pattern);
    const std::string gold = within(gold_.fill(record.fields), gold_pattern_, "gold_pattern", task_.gold_pattern);
    if (task_.options.given()) {
      std::vector<Option> options = options_of(record.fields, task_.options);
      check(options);
      if (!task_.gold.empty()) {
        const auto place = place_of(gold, options);
        if (!place) throw BadInput(fmt::format("gold is '{}', which is none of the {} options", gold, options.size()));
        options[*place].is_gold = true;
      }
      if (std::count_if(options.begin(), options.end(), [](const Option& option) { return option.is_gold; }) != 1)
        throw BadInput("not exactly one option is gold");
      if (task_.shuffle_options) shuffle(options, *task_.shuffle_options, item.id);
      for (size_t i = 0; i < options.size(); ++i) {
        if (options[i].is_gold) item.gold = option_letter(i);
        item.options.push_back(options[i].text);
      }
      item.prompt = prompt_.fill(record.fields) + listed(options, task_.options.list) + task_.prompt_end;
    } else {
      item.gold = task_.gold.empty() ? "" : normalised(gold, task_);
      item.prompt = prompt_.fill(record.fields) + task_.prompt_end;
    }
    if (item.prompt.find_first_not_of(" \t\r\n") == std::string::npos) throw BadInput("the prompt is empty");
    item.role = role_.fill(record.fields);
    const auto filled = [&](const std::string& text) { return FieldText(text).fill(record.fields); };
    if (task_.kind == TaskKind::kCode)
      item.code = {filled(task_.code.prompt), filled(task_.code.test), filled(task_.code.entry_point)};
    return item;
  }

 private:
  // What the pattern's first group finds in the text; the text where there is no pattern.
  static std::string within(const std::string& text, const std::optional<Regex>& pattern, const char* key,
                            const std::string& written) {
    if (!pattern) return text;
    const auto found = pattern->find_first(text);
    if (!found) throw BadInput(fmt::format("{} '{}' finds nothing in '{}'", key, written, text));
    return text.substr(found->begin, found->end - found->begin);
  }

  static void check(const std::vector<Option>& options) {
    constexpr size_t kMost = 26;  // letters
    if (options.size() < 2 || options.size() > kMost)
      throw BadInput(fmt::format("there are {} options, expected 2 to {}", options.size(), kMost));
    for (const Option& option : options)
      if (option.text.empty()) throw BadInput("an option is empty");
  }

  const Task& task_;
  FieldText prompt_, gold_, role_;
  std::optional<Regex> gold_pattern_, group_pattern_;
};

// What stands behind an example's question.
std::string answer_of(const TaskItem& item, const TaskRecord& record, const Task& task) {
  if (!task.shots.answer.empty()) return FieldText(task.shots.answer).fill(record.fields);
  const bool says_text =
      !item.options.empty() && task.kind == TaskKind::kChoice && task.options.say == OptionSay::kText;
  return " " + (says_text ? item.options[static_cast<size_t>(item.gold[0] - 'A')] : item.gold);
}

template <class F>
void for_each_item(const Task& task, const std::filesystem::path& data_root, const F& use) {
  const Reader reader(task);
  for (const TaskRecord& record : read_task_data(data_root, task.data, task.id)) try {
      use(reader.item(record), record);
    } catch (const BadInput& error) {
      throw BadInput(fmt::format("{}: {} (task {})", record.where, error.what(), task.name));
    }
}

}  // namespace

std::string option_letter(size_t index) {
  return std::string(1, static_cast<char>('A' + index));
}

std::vector<TaskItem> read_items(const Task& task, const std::filesystem::path& data_root) {
  std::vector<TaskItem> items;
  for_each_item(task, data_root, [&](TaskItem item, const TaskRecord&) { items.push_back(std::move(item)); });
  return items;
}

std::map<std::string, Shots> read_shots(const Task& task, const std::filesystem::path& data_root, int64_t count) {
  if (task.shots.path.empty())
    throw BadInput(
        fmt::format("eval.shots is {}, but task {} names no examples (its key shots.path)", count, task.name));
  Task examples = task;
  examples.data.path = task.shots.path;
  std::map<std::string, Shots> by_group;
  for_each_item(examples, data_root, [&](const TaskItem& item, const TaskRecord& record) {
    Shots& shots = by_group[item.group];
    if (static_cast<int64_t>(shots.prompts.size()) == count) return;
    shots.text += item.prompt + answer_of(item, record, task) + "\n\n";
    shots.prompts.push_back(item.prompt);
  });
  for (const auto& [group, shots] : by_group)
    if (static_cast<int64_t>(shots.prompts.size()) < count)
      throw BadInput(fmt::format("eval.shots is {}, but {} has {} examples{}", count, task.shots.path.string(),
                                 shots.prompts.size(), group.empty() ? "" : " of the group " + group));
  return by_group;
}

std::vector<TaskItem> sample_items(std::vector<TaskItem> items, int64_t limit, uint64_t seed) {
  const auto all = static_cast<int64_t>(items.size());
  if (limit >= all) return items;
  std::map<std::string, std::vector<size_t>> groups;
  for (size_t i = 0; i < items.size(); ++i) groups[items[i].group].push_back(i);
  // Whole shares first, then one more to the largest remainders; of equal ones to the group whose name hashes lower.
  std::vector<std::pair<std::pair<int64_t, uint64_t>, const std::string*>> remainders;
  std::map<std::string, int64_t> shares;
  int64_t given = 0;
  for (const auto& [name, members] : groups) {
    const int64_t product = static_cast<int64_t>(members.size()) * limit;
    given += shares[name] = product / all;
    remainders.push_back({{-(product % all), text_hash(name, seed)}, &name});
  }
  std::sort(remainders.begin(), remainders.end());
  for (size_t i = 0; given < limit; ++i, ++given) ++shares[*remainders[i].second];
  std::vector<size_t> chosen;
  for (auto& [name, members] : groups) {
    std::sort(members.begin(), members.end(), [&](size_t a, size_t b) {
      const uint64_t x = text_hash(items[a].id, seed), y = text_hash(items[b].id, seed);
      return x != y ? x < y : a < b;
    });
    chosen.insert(chosen.end(), members.begin(), members.begin() + static_cast<std::ptrdiff_t>(shares[name]));
  }
  std::sort(chosen.begin(), chosen.end());
  std::vector<TaskItem> sample;
  for (const size_t i : chosen) sample.push_back(std::move(items[i]));
  return sample;
}

}  // namespace spt
