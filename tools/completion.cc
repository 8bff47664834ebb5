#include "tools/completion.h"

#include <map>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace handoff {
namespace {

// In single quotes, as a word of bash or zsh.
std::string Quoted(absl::string_view text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

std::string Names(const std::vector<OptionModel>& options) {
  return absl::StrJoin(options, " ",
                       [](std::string* out, const OptionModel& option) {
                         absl::StrAppend(out, option.name);
                       });
}

// An option means the same wherever it is.
std::map<std::string, OptionModel> AllOptions(const CommandModel& model) {
  std::map<std::string, OptionModel> options;
  for (const OptionModel& option : model.options) {
    options.emplace(option.name, option);
  }
  for (const VerbModel& verb : model.verbs) {
    for (const OptionModel& option : verb.options) {
      options.emplace(option.name, option);
    }
  }
  return options;
}

// Bash has '=' in COMP_WORDBREAKS: "--format=json" is three words.
constexpr char kBash[] =
    R"(# Completion of handoff for bash: source <(handoff completion bash)
_handoff() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
  local verb= words= i
  if [[ $word == = ]]; then
    word=
  elif [[ $before == = ]]; then
    before=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case ${COMP_WORDS[i]} in
      @WITH_VALUE@)
        [[ ${COMP_WORDS[i + 1]} == = ]] && ((++i))
        ((++i))
        ;;
      --)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
      @VERBS@) [[ $verb ]] || verb=${COMP_WORDS[i]} ;;
    esac
  done
  case $before in
    @PATHS@)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      return
      ;;
@CHOICES@    @WITH_VALUE@) return ;;
    *)
      case $verb in
@WORDS@      esac
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _handoff handoff
)";

std::string Bash(const CommandModel& model) {
  std::vector<std::string> with_value, paths, verbs;
  std::string choices, words;
  for (const auto& [name, option] : AllOptions(model)) {
    if (option.takes_value) with_value.push_back(name);
    if (option.path) paths.push_back(name);
    if (!option.values.empty()) {
      absl::StrAppend(&choices, "    ", name,
                      ") words=", Quoted(absl::StrJoin(option.values, " ")),
                      " ;;\n");
    }
  }
  for (const VerbModel& verb : model.verbs) verbs.push_back(verb.name);
  const auto append = [&](absl::string_view verb, const std::string& first,
                          const std::vector<OptionModel>& options) {
    absl::StrAppend(
        &words, "        ", Quoted(verb), ") words=",
        Quoted(absl::StrCat(first, first.empty() ? "" : " ", Names(options))),
        " ;;\n");
  };
  append("", absl::StrJoin(verbs, " "), model.options);
  for (const VerbModel& verb : model.verbs) {
    append(verb.name, absl::StrJoin(verb.values, " "), verb.options);
  }
  return absl::StrReplaceAll(
      kBash, {{"@WITH_VALUE@", absl::StrJoin(with_value, " | ")},
              {"@VERBS@", absl::StrJoin(verbs, " | ")},
              {"@PATHS@", absl::StrJoin(paths, " | ")},
              {"@CHOICES@", choices},
              {"@WORDS@", words}});
}

constexpr char kZsh[] =
    R"(#compdef handoff
# Completion of handoff for zsh: source <(handoff completion zsh)
_handoff() {
  local context state state_descr line
  typeset -A opt_args
  local -a verbs
  verbs=(
@VERBS@  )
  _arguments -C \
@OPTIONS@    '1:verb:->verb' '*::argument:->argument'
  case $state in
    verb) _describe verb verbs ;;
    argument)
      case $line[1] in
@ARGUMENTS@      esac
      ;;
  esac
}
if [[ $funcstack[1] == _handoff ]]; then
  _handoff "$@"
else
  compdef _handoff handoff
fi
)";

// One argument of _arguments: "--format=[for people]:value:(text json)".
std::string ZshOption(const OptionModel& option) {
  std::string text = absl::StrCat(
      "*", option.name, option.takes_value ? "=" : "", "[",
      absl::StrReplaceAll(option.description,
                          {{"[", "\\["}, {"]", "\\]"}, {":", "\\:"}}),
      "]");
  if (option.takes_value) {
    absl::StrAppend(
        &text, ":value:",
        option.path ? "_files"
        : option.values.empty()
            ? " "
            : absl::StrCat("(", absl::StrJoin(option.values, " "), ")"));
  }
  return Quoted(text);
}

std::string Zsh(const CommandModel& model) {
  std::string verbs, options, arguments;
  for (const OptionModel& option : model.options) {
    absl::StrAppend(&options, "    ", ZshOption(option), " \\\n");
  }
  for (const VerbModel& verb : model.verbs) {
    absl::StrAppend(&verbs, "    ",
                    Quoted(absl::StrCat(
                        verb.name, ":",
                        absl::StrReplaceAll(verb.description, {{":", "\\:"}}))),
                    "\n");
    absl::StrAppend(&arguments, "        ", verb.name,
                    ")\n          _arguments");
    for (const OptionModel& option : verb.options) {
      absl::StrAppend(&arguments, " \\\n            ", ZshOption(option));
    }
    if (!verb.values.empty()) {
      absl::StrAppend(
          &arguments, " \\\n            ",
          Quoted(absl::StrCat("1:argument:(", absl::StrJoin(verb.values, " "),
                              ")")));
    }
    if (verb.runs_command) {
      absl::StrAppend(&arguments, " \\\n            '*:command:_files'");
    }
    absl::StrAppend(&arguments, "\n          ;;\n");
  }
  return absl::StrReplaceAll(
      kZsh,
      {{"@VERBS@", verbs}, {"@OPTIONS@", options}, {"@ARGUMENTS@", arguments}});
}

// In single quotes, as a word of fish: there a backslash means something.
std::string FishQuoted(absl::string_view text) {
  return absl::StrCat(
      "'", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}}), "'");
}

std::string FishOption(const OptionModel& option,
                       const std::vector<std::string>& verbs) {
  std::string line = "complete -c handoff";
  if (!verbs.empty()) {
    absl::StrAppend(
        &line, " -n ",
        FishQuoted("__fish_seen_subcommand_from " + absl::StrJoin(verbs, " ")));
  }
  absl::StrAppend(&line, " -l ", option.name.substr(2));
  if (option.takes_value) absl::StrAppend(&line, " -r");
  if (option.path) absl::StrAppend(&line, " -F");
  if (!option.values.empty()) {
    absl::StrAppend(&line, " -a ",
                    FishQuoted(absl::StrJoin(option.values, " ")));
  }
  absl::StrAppend(&line, " -d ", FishQuoted(option.description), "\n");
  return line;
}

std::string Fish(const CommandModel& model) {
  std::string text =
      "# Completion of handoff for fish: handoff completion fish | source\n"
      "complete -c handoff -f\n";
  std::set<std::string> everywhere;
  for (const OptionModel& option : model.options) {
    everywhere.insert(option.name);
    text += FishOption(option, {});
  }
  std::map<std::string, std::vector<std::string>> verbs_of;
  for (const VerbModel& verb : model.verbs) {
    absl::StrAppend(&text, "complete -c handoff -n __fish_use_subcommand -a ",
                    verb.name, " -d ", FishQuoted(verb.description), "\n");
    const std::string seen =
        FishQuoted("__fish_seen_subcommand_from " + verb.name);
    if (!verb.values.empty()) {
      absl::StrAppend(&text, "complete -c handoff -n ", seen, " -a ",
                      FishQuoted(absl::StrJoin(verb.values, " ")), "\n");
    }
    if (verb.runs_command) {
      absl::StrAppend(&text, "complete -c handoff -n ", seen, " -F\n");
    }
    for (const OptionModel& option : verb.options) {
      if (everywhere.count(option.name) == 0) {
        verbs_of[option.name].push_back(verb.name);
      }
    }
  }
  const auto options = AllOptions(model);
  for (const auto& [name, verbs] : verbs_of) {
    text += FishOption(options.at(name), verbs);
  }
  return text;
}

}  // namespace

std::string CompletionScript(absl::string_view shell,
                             const CommandModel& model) {
  if (shell == "bash") return Bash(model);
  if (shell == "zsh") return Zsh(model);
  if (shell == "fish") return Fish(model);
  return "";
}

}  // namespace handoff
