#include "trainer/eval_inputs.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/sha256.h"
#include "data/named_config.h"
#include "data/printable.h"
#include "trainer/eval/sandbox.h"
#include "trainer/given_roles.h"
#include "trainer/hf_folder.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::optional<ChatTemplate> template_of(const EvalConfig& config) {
  const std::string& name = config.eval.chat_template;
  if (name == "none") return std::nullopt;
  if (!name.empty()) return ChatTemplate::load(name);
  if (const auto spt = load_spt_json(config.model.path))
    return ChatTemplate::parse(spt->template_text, (config.model.path / "spt.json").string() + ": template");
  return ChatTemplate::load("spt");
}

std::unique_ptr<Dataset> open_corpus(const fs::path& file, const Task& task, const EvalConfig& config,
                                     const Tokenizer& tokenizer, const ModelConfig& model) {
  const fs::path path = config.eval.data.root / task.data.path;
  if (!fs::exists(path))
    throw BadInput(fmt::format(
        "{}: its data.path {} is not below eval.data.root ({}): {} is not there; it is what spt prepare makes",
        file.string(), task.data.path.string(), config.eval.data.root.string(), path.string()));
  auto corpus = std::make_unique<Dataset>(path);
  corpus->require_tokenizer(tokenizer.sha256(), config.model.path);
  corpus->verify();
  corpus->require_lengths(model.max_positions);
  return corpus;
}

// A question must leave room for an answer, an option must fit as a whole.
void measure_length(const EvalInputs& inputs, EvalItem& item) {
  const Task& task = inputs.tasks[item.task];
  size_t longest = 0;
  if (task.kind == TaskKind::kChoice) {
    const ChoiceQuestion question = choice_question(inputs, item);
    for (const auto& option : question.options) longest = std::max(longest, question.prompt.size() + option.size() - 1);
    item.tokens = question.tokens();
  } else {
    longest = prompt_ids(inputs, item).size() + trigger_ids(inputs, item).size() + 1;
    item.tokens = static_cast<int64_t>(longest);
  }
  if (longest > static_cast<size_t>(inputs.model.max_positions))
    throw BadInput(fmt::format(
        "task {}: item {} takes {} tokens, the model at most {} (max_position_embeddings in config.json): leave "
        "the task out, or lower eval.shots",
        task.name, item.item.id, longest, inputs.model.max_positions));
}

void check_shots(const EvalInputs& inputs, const EvalItem& item) {
  const auto& shots = inputs.shots[item.task];
  if (shots.empty()) return;
  const Task& task = inputs.tasks[item.task];
  const auto found = shots.find(item.item.group);
  if (found == shots.end())
    throw BadInput(fmt::format("eval.shots: item {} of task {} is of the group {}, of which {} has no example",
                               item.item.id, task.name, item.item.group, task.shots.path.string()));
  for (const std::string& prompt : found->second.prompts)
    if (prompt == item.item.prompt)
      throw BadInput(fmt::format("eval.shots: item {} of task {} is one of its own examples ({})", item.item.id,
                                 task.name, task.shots.path.string()));
}

// A hash over the task's file, its examples and items.
std::string task_sha256(const EvalInputs& inputs, size_t task) {
  Sha256 hash;
  const auto update = [&](const json& facts) {
    hash.update(facts.dump(-1, ' ', false, json::error_handler_t::replace));
  };
  Task file = inputs.tasks[task];
  file.role.clear();  // one that is given is hashed with the items
  update(dump_fields(file));
  for (const auto& [group, examples] : inputs.shots[task]) update({group, examples.text});
  if (inputs.corpora[task]) update(inputs.corpora[task]->info().content_sha256);
  for (const EvalItem& item : inputs.items)
    if (item.task == task)
      update({item.item.id, item.item.group, item.item.prompt, item.item.options, item.item.gold, item.item.code.prompt,
              item.item.code.test, item.item.code.entry_point, item.given_role.value_or("")});
  return hash.hex();
}

json facts_of(const EvalInputs& inputs, const EvalConfig& config) {
  const ChatTemplate* chat_template = inputs.prompter.chat_template();
  json facts = {{"eval.max_new_tokens", config.eval.max_new_tokens},
                {"eval.conclusion_tokens", config.eval.conclusion_tokens},
                {"eval.role", config.eval.role},
                {"eval.role_in", fields_detail::format_any(config.eval.role_in)},
                {"eval.deterministic", config.eval.deterministic},
                {"eval.chat_template", chat_template != nullptr ? sha256_hex(chat_template->text()) : "none"},
                {"tokenizer", inputs.tokenizer->sha256()}};
  for (size_t task = 0; task < inputs.tasks.size(); ++task)
    facts["task " + inputs.tasks[task].name] = task_sha256(inputs, task);
  return facts;
}

std::string readable(const std::vector<int32_t>& ids, const Tokenizer& tokenizer) {
  std::string text;
  std::vector<int32_t> run;
  const auto flush = [&] {
    text += tokenizer.decode(run, text.empty());
    run.clear();
  };
  for (const int32_t id : ids) {
    if (tokenizer.decode({id}, false).empty()) {
      flush();
      text += tokenizer.piece(id);
    } else {
      run.push_back(id);
    }
  }
  flush();
  return printable(text);
}

}  // namespace

std::vector<Task> load_tasks(const EvalConfig& config) {
  std::vector<Task> tasks;
  for (const std::string& name : config.eval.tasks) {
    if (name.find(',') != std::string::npos && name.find('/') == std::string::npos && !name.ends_with(".yaml"))
      throw BadInput(fmt::format("there is no task \"{}\"; several are written eval.tasks=[{}]", name, name));
    const fs::path file = named_config("tasks", name);
    Task task = load_task(file);
    if (std::any_of(tasks.begin(), tasks.end(), [&](const Task& other) { return other.name == task.name; }))
      throw BadInput(fmt::format("{}: another task is called {} too", file.string(), task.name));
    if (task.kind == TaskKind::kCode && !config.eval.allow_unsandboxed) require_sandbox();
    tasks.push_back(std::move(task));
  }
  return tasks;
}

EvalInputs load_eval_inputs(const EvalConfig& config) {
  const ModelConfig model = load_model_config(config.model.path);
  auto tokenizer = load_tokenizer(config.model.path);
  check_vocabulary(model, tokenizer->size(), config.model.path);
  Prompter prompter(template_of(config), *tokenizer, config.eval.role_in);
  const GivenRoles roles(config.eval.role, config.eval.roles_from, prompter.chat_template());
  EvalInputs inputs{model,
                    std::move(tokenizer),
                    std::move(prompter),
                    roles.is_forbidden(),
                    !config.eval.allow_unsandboxed,
                    load_tasks(config),
                    {},
                    {},
                    {},
                    {}};
  for (size_t i = 0; i < inputs.tasks.size(); ++i) {
    const Task& task = inputs.tasks[i];
    inputs.corpora.emplace_back();
    inputs.shots.emplace_back();
    if (task.kind == TaskKind::kPerplexity) {
      inputs.corpora.back() =
          open_corpus(named_config("tasks", config.eval.tasks[i]), task, config, *inputs.tokenizer, model);
      for (int64_t row = 0; row < inputs.corpora.back()->size(); ++row) {
        EvalItem& item = inputs.items.emplace_back();
        item.task = i;
        item.item.id = std::to_string(row);
        item.tokens = inputs.corpora.back()->lengths()[static_cast<size_t>(row)];
      }
      continue;
    }
    std::vector<TaskItem> items = read_items(task, config.eval.data.root);
    if (config.eval.shots > 0) inputs.shots.back() = read_shots(task, config.eval.data.root, config.eval.shots);
    if (config.eval.limit) items = sample_items(std::move(items), *config.eval.limit, config.eval.seed);
    const auto given = roles.of(task, items, *inputs.tokenizer);
    for (size_t j = 0; j < items.size(); ++j) {
      inputs.items.push_back({i, std::move(items[j]), given[j]});
      check_shots(inputs, inputs.items.back());
      measure_length(inputs, inputs.items.back());
    }
  }
  inputs.depends_on = facts_of(inputs, config);
  return inputs;
}

const std::string& shots_of(const EvalInputs& inputs, const EvalItem& item) {
  static const std::string kNone;
  const auto& shots = inputs.shots[item.task];
  return shots.empty() ? kNone : shots.at(item.item.group).text;
}

std::vector<int32_t> prompt_ids(const EvalInputs& inputs, const EvalItem& item) {
  return inputs.prompter.prompt(shots_of(inputs, item) + item.item.prompt, item.given_role);
}

ChoiceQuestion choice_question(const EvalInputs& inputs, const EvalItem& item) {
  ChoiceQuestion question;
  const std::string text = shots_of(inputs, item) + item.item.prompt;
  question.prompt = inputs.prompter.prompt(text, item.given_role);
  const bool letters = inputs.tasks[item.task].options.say == OptionSay::kLetter;
  for (size_t i = 0; i < item.item.options.size(); ++i)
    question.options.push_back(inputs.prompter.option(question.prompt.size(), text, item.given_role,
                                                      letters ? option_letter(i) : item.item.options[i]));
  return question;
}

std::vector<int32_t> trigger_ids(const EvalInputs& inputs, const EvalItem& item) {
  std::string trigger = inputs.tasks[item.task].trigger;
  if (trigger.empty()) return {};
  const std::string mark = "{last}";
  if (const size_t at = trigger.find(mark); at != std::string::npos && !item.item.options.empty())
    trigger.replace(at, mark.size(), option_letter(item.item.options.size() - 1));
  return inputs.prompter.trigger(trigger);
}

std::string show_prompts(const EvalInputs& inputs, int64_t count) {
  std::string text;
  std::vector<int64_t> shown(inputs.tasks.size(), 0);
  for (const EvalItem& item : inputs.items) {
    const Task& task = inputs.tasks[item.task];
    if (shown[item.task]++ >= count) continue;
    if (const auto& corpus = inputs.corpora[item.task]) {
      const int64_t row = std::stoll(item.item.id);
      const at::Tensor ids = corpus->batch({&row, 1}).ids.to(at::kInt);
      text +=
          fmt::format("--- {} {}\n{}\n", task.name, printable(corpus->id(row)),
                      readable({ids.data_ptr<int32_t>(), ids.data_ptr<int32_t>() + ids.numel()}, *inputs.tokenizer));
      continue;
    }
    text += fmt::format("--- {} {}\n{}\n", task.name, printable(item.item.id),
                        readable(prompt_ids(inputs, item), *inputs.tokenizer));
    if (task.kind == TaskKind::kChoice) {
      const ChoiceQuestion question = choice_question(inputs, item);
      for (size_t i = 0; i < question.options.size(); ++i)
        text += fmt::format("    {}: {}\n", option_letter(i), readable(question.options[i], *inputs.tokenizer));
    }
    if (!task.trigger.empty())
      text += fmt::format("    then: {}\n", readable(trigger_ids(inputs, item), *inputs.tokenizer));
    if (!item.item.gold.empty()) text += fmt::format("    right: {}\n", printable(item.item.gold));
  }
  return text;
}

}  // namespace spt
