#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "launch/commands.h"

namespace spt {
namespace {

struct CompletedOption {
  std::string name, help;  // "--out"
  bool takes_value = false;
};

std::vector<CompletedOption> options_of(const CLI::App& command) {
  std::vector<CompletedOption> found;
  for (const CLI::Option* option : command.get_options())
    if (!option->get_group().empty())  // the others are hidden
      for (const std::string& name : option->get_lnames())
        found.push_back({"--" + name, option->get_description(), option->get_items_expected_max() > 0});
  return found;
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

// File names where a value or a positional argument is to be written.
std::string bash_completion(const CLI::App& app) {
  std::vector<std::string> first;
  std::string cases;
  for (const CLI::App* command : commands_of(app)) {
    first.push_back(command->get_name());
    std::vector<std::string> all, with_value;
    for (const CompletedOption& option : options_of(*command)) {
      all.push_back(option.name);
      if (option.takes_value) with_value.push_back(option.name);
    }
    cases += fmt::format("    {})\n      words=\"{}\"\n      valued=\"{}\" ;;\n", command->get_name(),
                         fmt::join(all, " "), fmt::join(with_value, " "));
  }
  for (const CompletedOption& option : options_of(app)) first.push_back(option.name);
  return fmt::format(R"(# Completion of spt for bash, as `spt completion bash` writes it.
_spt() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words="" valued=""
  COMPREPLY=()
  [ "$COMP_CWORD" -gt 1 ] || {{ COMPREPLY=($(compgen -W "{}" -- "$word")); return; }}
  case ${{COMP_WORDS[1]}} in
{}  esac
  case $word in -*) ;; *) return ;; esac
  case " $valued " in *" $before "*) return ;; esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o bashdefault -o default -F _spt spt
)",
                     fmt::join(first, " "), cases);
}

// Inside single quotes, where `marks` mean something to zsh's own functions.
std::string zsh_text(const std::string& text, const char* marks) {
  std::string out;
  for (const char c : text) {
    if (std::string(marks).find(c) != std::string::npos) out += '\\';
    out += c == '\'' ? std::string("'\\''") : c == '\n' ? std::string(" ") : std::string(1, c);
  }
  return out;
}

std::string zsh_option(const CompletedOption& option) {
  return fmt::format("'{}[{}]{}'", option.name, zsh_text(option.help, "[]:\\"),
                     option.takes_value ? ":value:_files" : "");
}

std::string zsh_completion(const CLI::App& app) {
  std::string commands, cases;
  for (const CLI::App* command : commands_of(app)) {
    commands += fmt::format("    '{}:{}'\n", command->get_name(), zsh_text(command->get_description(), ":\\"));
    cases += fmt::format("    {}) _arguments", command->get_name());
    for (const CompletedOption& option : options_of(*command)) cases += " \\\n      " + zsh_option(option);
    cases += " \\\n      '*:file:_files' ;;\n";
  }
  std::string own;
  for (const CompletedOption& option : options_of(app)) own += fmt::format(" {}", option.name);
  return fmt::format(R"(#compdef spt
# Completion of spt for zsh, as `spt completion zsh` writes it.
_spt() {{
  local -a commands=(
{}  )
  if (( CURRENT == 2 )); then
    _describe command commands
    compadd --{}
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
{}  esac
}}
if [[ $funcstack[1] = _spt ]]; then _spt "$@"; else compdef _spt spt; fi
)",
                     commands, own, cases);
}

}  // namespace

void add_completion(CLI::App& app, Action& action) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("completion", "completion of this command line for a shell");
  command->add_option("SHELL", *shell, "bash or zsh")->required()->check(CLI::IsMember({"bash", "zsh"}));
  command->footer(
      "cmake --install puts both where the shells look.\n"
      "Example: source <(spt completion bash)");
  command->callback([shell, &app, &action] {
    action = [shell, &app](int, char**) {
      fmt::print("{}", *shell == "bash" ? bash_completion(app) : zsh_completion(app));
      return static_cast<int>(ExitStatus::kDone);
    };
  });
}

}  // namespace spt
