#include "tools/command_line.h"

#include <algorithm>
#include <exception>
#include <functional>
#include <memory>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace handoff {
namespace {

// A slip of the finger should not wait for a day.
constexpr absl::Duration kLongestTimeout = absl::Hours(1);
// A rehearsal restores everything: as long as a handoff may stage, and as much
// again.
constexpr absl::Duration kRehearsalTimeout = absl::Minutes(2);

// Where the descriptions of options begin.
constexpr int kColumn = 24;
// Of an option whose value names a file.
constexpr char kPath[] = "PATH";

const VerbText* FindVerb(absl::string_view name) {
  for (const VerbText& verb : VerbTexts()) {
    if (verb.name == name) return &verb;
  }
  return nullptr;
}

std::string JoinedVerbs(absl::string_view separator) {
  return absl::StrJoin(VerbTexts(), separator,
                       [](std::string* out, const VerbText& verb) {
                         absl::StrAppend(out, verb.name);
                       });
}

class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() { column_width(kColumn); }

  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override {
    return absl::StrCat(make_usage(app, std::move(name)), "\n",
                        app->get_parent() == nullptr ? make_description(app)
                                                     : app->get_footer(),
                        make_subcommands(app, mode), make_groups(app, mode),
                        app->get_parent() == nullptr
                            ? absl::StrCat("\n", app->get_footer())
                            : "");
  }
  std::string make_usage(const CLI::App* app, std::string) const override {
    const VerbText* verb = FindVerb(app->get_name());
    return verb == nullptr ? "usage: handoff VERB [OPTION...]\n"
                             "       handoff help VERB\n"
                           : absl::StrCat("usage: handoff ", verb->name, " ",
                                          verb->usage, "\n");
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    const std::string& text = option->get_option_text();
    return text.empty() ? "" : absl::StrCat("=", text);
  }
};

[[noreturn]] void Reject(const std::string& text) {
  throw CLI::ValidationError(text);
}

// The command as CLI11 knows it, and what it has read.
class Parser {
 public:
  // Throws CLI11's errors, as do its members.
  Parser();

  CLI::App& app() { return app_; }
  CommandLine Parse(absl::Span<const absl::string_view> arguments);

 private:
  void AddCommonOptions(CLI::App& app);
  void AddDuration(CLI::App& app, const std::string& name,
                   absl::Duration longest, const std::string& longest_text,
                   const std::string& description,
                   std::function<void(absl::Duration)> set);
  CLI::App& Add(const VerbText& verb);
  void RejectExtras();
  void Complete();

  CommandLine line_;
  bool help_ = false;
  bool timed_ = false;
  CLI::App app_;
};

// As help has it: "=TEXT". Of several, the last counts.
CLI::Option* Named(CLI::Option* option, const std::string& text) {
  return option->option_text(text)->take_last()->group("options");
}

void Parser::AddDuration(CLI::App& app, const std::string& name,
                         absl::Duration longest,
                         const std::string& longest_text,
                         const std::string& description,
                         std::function<void(absl::Duration)> set) {
  Named(app.add_option_function<std::string>(
            name,
            [name, longest, longest_text, set](const std::string& text) {
              absl::Duration value;
              if (!absl::ParseDuration(text, &value) ||
                  value <= absl::ZeroDuration() || value > longest) {
                Reject(absl::StrCat(name, " is a time up to ", longest_text,
                                    ", such as 500ms or 5s, not '", text, "'"));
              }
              set(value);
            },
            description),
        "TIME");
}

CLI::Option* AddChoice(CLI::App& app, const std::string& name,
                       const std::vector<std::string>& choices,
                       const std::string& description,
                       std::function<void(const std::string&)> set) {
  const auto check = [=](const std::string& text) {
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
      Reject(absl::StrCat(name, " is ", absl::StrJoin(choices, " or "),
                          ", not '", text, "'"));
    }
    set(text);
  };
  return Named(app.add_option_function<std::string>(name, check, description),
               absl::StrJoin(choices, "|"))
      ->type_name(absl::StrJoin(choices, "|"));
}

void Parser::AddCommonOptions(CLI::App& app) {
  Named(app.add_option("--handoff", line_.path, "the service's handoff socket"),
        kPath)
      ->type_name(kPath);
  AddChoice(app, "--format", {"text", "json"},
            "for people (the default), or one line of JSON",
            [this](const std::string& text) {
              line_.format = text == "json" ? Format::kJson : Format::kText;
            });
  AddDuration(app, "--timeout", kLongestTimeout, "1h",
              "how long to wait for the whole answer, at most 1h;\n"
              "5s, and of rehearse 2m, unless it is given",
              [this](absl::Duration timeout) {
                line_.timeout = timeout;
                timed_ = true;
              });
}

CLI::App& Parser::Add(const VerbText& verb) {
  CLI::App& app =
      *app_.add_subcommand(std::string(verb.name), std::string(verb.summary));
  app.group("verbs")->footer(std::string(verb.details));
  switch (verb.verb) {
    case Verb::kHelp:
      app.add_option("verb", line_.topic)
          ->type_name(JoinedVerbs("|"))
          ->group("");
      break;
    case Verb::kCompletion:
      AddChoice(app, "shell", {"bash", "zsh", "fish"}, "",
                [this](const std::string& text) { line_.shell = text; })
          ->group("");
      break;
    case Verb::kStatus:
    case Verb::kList:
    case Verb::kLedger:
    case Verb::kRehearse:
      AddCommonOptions(app);
      break;
  }
  app.add_flag("-h,--help", help_, "this text")->group("options");
  return app;
}

Parser::Parser()
    : app_(
          "Asks a running service what it would hand over to its successor, "
          "and what\nbecame of everything in its last handoffs; finds out "
          "whether a new binary could\ntake over.",
          "handoff") {
  app_.formatter(std::make_shared<HelpFormatter>());
  // Help is a flag like any other: what is wrong is said first.
  app_.set_help_flag();
  // We say what is one too many.
  app_.allow_extras();
  app_.require_subcommand(0, 1);
  app_.footer(std::string(CommandDetails()));
  AddCommonOptions(app_);
  app_.add_flag("-h,--help", help_, "this text, or that of the verb")
      ->group("options");
  for (const VerbText& verb : VerbTexts()) Add(verb);
}

void Parser::RejectExtras() {
  const std::vector<std::string> extras = app_.remaining(/*recurse=*/true);
  if (extras.empty()) return;
  const std::string& first = extras.front();
  if (absl::StartsWith(first, "-")) Reject("unknown option '" + first + "'");
  if (app_.remaining().empty()) {
    Reject("one argument too many: '" + first + "'");
  }
  Reject("unknown verb '" + first + "'");
}

void Parser::Complete() {
  RejectExtras();
  const std::vector<CLI::App*> verbs = app_.get_subcommands();
  if (verbs.empty() && !help_) {
    Reject("a verb is missing: " + JoinedVerbs(", "));
  }
  const VerbText* verb =
      verbs.empty() ? nullptr : FindVerb(verbs.front()->get_name());
  if (verb != nullptr) line_.verb = verb->verb;
  if (!line_.topic.empty() && FindVerb(line_.topic) == nullptr) {
    Reject("unknown verb '" + line_.topic + "'");
  }
  if (line_.verb == Verb::kCompletion && line_.shell.empty() && !help_) {
    Reject("completion needs the name of a shell: bash, zsh or fish");
  }
  if (help_) {
    if (verb != nullptr && line_.topic.empty()) {
      line_.topic = std::string(verb->name);
    }
    line_.verb = Verb::kHelp;
  }
  if (line_.verb == Verb::kHelp || line_.verb == Verb::kCompletion) return;
  if (line_.path.empty()) {
    Reject(absl::StrCat(verb->name,
                        " needs --handoff=PATH, the service's socket"));
  }
  if (line_.verb != Verb::kRehearse) return;
  if (line_.command.empty()) Reject("rehearse needs -- COMMAND [ARGUMENT...]");
  if (!timed_) line_.timeout = kRehearsalTimeout;
}

CommandLine Parser::Parse(absl::Span<const absl::string_view> arguments) {
  const auto end = std::find(arguments.begin(), arguments.end(), "--");
  // The first one is to be the last of a vector.
  std::vector<std::string> reversed;
  for (auto argument = end; argument != arguments.begin();) {
    --argument;
    // Would end the verb: there is nothing after it.
    if (*argument == "++") Reject("one argument too many: '++'");
    // Would take the next argument for its value.
    if (absl::StartsWith(*argument, "--") && absl::EndsWith(*argument, "=")) {
      Reject(absl::StrCat("'", *argument, "' needs a value"));
    }
    reversed.emplace_back(*argument);
  }
  if (end != arguments.end()) {
    for (auto word = end + 1; word != arguments.end(); ++word) {
      line_.command.emplace_back(*word);
    }
  }
  app_.parse(reversed);
  Complete();
  if (end != arguments.end() && line_.verb != Verb::kRehearse &&
      line_.verb != Verb::kHelp) {
    Reject("only the command to rehearse comes after '--'");
  }
  return std::move(line_);
}

// A type's name is kPath, or what the value can be.
std::vector<std::string> ChoicesOf(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  if (!absl::StrContains(type, "|")) return {};
  return absl::StrSplit(type, '|');
}

std::vector<OptionModel> OptionsOf(const CLI::App& app) {
  std::vector<OptionModel> models;
  for (const CLI::Option* option : app.get_options()) {
    if (!option->nonpositional()) continue;
    OptionModel model;
    model.name = "--" + option->get_lnames().front();
    model.description =
        absl::StrReplaceAll(option->get_description(), {{"\n", " "}});
    model.takes_value = option->get_expected_max() > 0;
    model.values = ChoicesOf(*option);
    model.path = option->get_type_name() == kPath;
    models.push_back(std::move(model));
  }
  return models;
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(
    absl::Span<const absl::string_view> arguments) {
  try {
    return Parser().Parse(arguments);
  } catch (const CLI::ArgumentMismatch& error) {
    // "--name: 1 required PATH missing"
    const absl::string_view text = error.what();
    return absl::InvalidArgumentError(
        absl::StrCat(text.substr(0, text.find(':')), " needs a value"));
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(error.what());
  }
}

std::string HelpText(absl::string_view topic) {
  Parser parser;
  if (FindVerb(topic) == nullptr) return parser.app().help();
  return parser.app().get_subcommand(std::string(topic))->help();
}

CommandModel ModelOfCommand() {
  Parser parser;
  CommandModel model;
  model.options = OptionsOf(parser.app());
  for (const VerbText& text : VerbTexts()) {
    VerbModel verb;
    verb.name = std::string(text.name);
    verb.description = std::string(text.summary);
    const CLI::App& app = *parser.app().get_subcommand(verb.name);
    verb.options = OptionsOf(app);
    for (const CLI::Option* option : app.get_options()) {
      if (option->get_positional()) verb.values = ChoicesOf(*option);
    }
    verb.runs_command = text.verb == Verb::kRehearse;
    model.verbs.push_back(std::move(verb));
  }
  return model;
}

}  // namespace handoff
