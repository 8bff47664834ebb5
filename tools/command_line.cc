#include "tools/command_line.h"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "tools/command_check.h"
#include "tools/command_options.h"

namespace handoff {
namespace {

// Where the descriptions of options begin.
constexpr int kColumn = 24;
// The type of a value that names a file.
constexpr char kPath[] = "PATH";
// Groups of options in help: what has none is not in it.
constexpr char kOptions[] = "options";
constexpr char kUnlisted[] = "";

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
    const VerbText* const verb = FindVerb(app->get_name());
    if (verb == nullptr) {
      return absl::StrCat(make_usage(app, name), "\n", make_description(app),
                          make_subcommands(app, mode), make_groups(app, mode),
                          "\n", CommandDetails());
    }
    return absl::StrCat(make_usage(app, name), "\n", verb->details,
                        make_groups(app, mode));
  }
  std::string make_usage(const CLI::App* app, std::string) const override {
    const VerbText* const verb = FindVerb(app->get_name());
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

// The command as CLI11 knows it, and what it has read. Throws CLI11's errors.
class Parser {
 public:
  Parser();
  // What the options point to is within.
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;

  CLI::App& app() { return app_; }
  CommandLine Parse(absl::Span<const absl::string_view> arguments);

 private:
  void Add(CLI::App& app, const OptionText& option);
  void AddAll(CLI::App& app, const std::vector<OptionText>& options,
              const std::string& help);
  void RejectExtras();
  void SetVerb();

  CommandLine line_;
  bool help_ = false;
  CLI::App app_;
};

void Parser::Add(CLI::App& app, const OptionText& option) {
  const auto set = [this, option](const std::string& value) {
    if (!option.choices.empty() &&
        std::find(option.choices.begin(), option.choices.end(), value) ==
            option.choices.end()) {
      const bool few = option.choices.size() <= 3;
      Reject(absl::StrCat(option.name, few ? " is " : " is one of ",
                          absl::StrJoin(option.choices, few ? " or " : ", "),
                          ", not '", value, "'"));
    }
    const absl::Status status = option.set(value, line_);
    if (!status.ok()) Reject(std::string(status.message()));
  };
  if (option.value.empty()) {
    app.add_flag_function(
           option.name, [set](std::int64_t) { set(""); }, option.description)
        ->disable_flag_override()
        ->group(kOptions);
    return;
  }
  // One function for options of one value and of several: a value each time.
  app.add_option_function<std::vector<std::string>>(
         option.name,
         [set](const std::vector<std::string>& values) {
           for (const std::string& value : values) set(value);
         },
         option.description)
      ->allow_extra_args(option.takes_several)
      ->option_text(option.value)
      // For completion.
      ->type_name(option.path ? kPath : absl::StrJoin(option.choices, "|"))
      ->group(absl::StartsWith(option.name, "-") ? kOptions : kUnlisted);
}

void Parser::AddAll(CLI::App& app, const std::vector<OptionText>& options,
                    const std::string& help) {
  for (const OptionText& option : options) Add(app, option);
  app.add_flag("-h,--help", help_, help)
      ->disable_flag_override()
      ->group(kOptions);
}

Parser::Parser() : app_(std::string(CommandSummary()), "handoff") {
  app_.formatter(std::make_shared<HelpFormatter>());
  // Help is a flag like any other: what is wrong is said first.
  app_.set_help_flag();
  // We say what is one too many.
  app_.allow_extras();
  app_.require_subcommand(0, 1);
  AddAll(app_, CommandOptions(), "this text, or that of the verb");
  for (const VerbText& verb : VerbTexts()) {
    CLI::App& app =
        *app_.add_subcommand(std::string(verb.name), std::string(verb.summary));
    app.group("verbs");
    AddAll(app, VerbOptions(verb.verb), "this text");
  }
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

void Parser::SetVerb() {
  const std::vector<CLI::App*> verbs = app_.get_subcommands();
  if (verbs.empty() && !help_) {
    Reject("a verb is missing: " + JoinedVerbs(", "));
  }
  const VerbText* const verb =
      verbs.empty() ? nullptr : FindVerb(verbs.front()->get_name());
  if (verb != nullptr) line_.verb = verb->verb;
  if (!help_) return;
  if (verb != nullptr && line_.topic.empty()) {
    line_.topic = std::string(verb->name);
  }
  line_.verb = Verb::kHelp;
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
  RejectExtras();
  SetVerb();
  if (end != arguments.end() && line_.verb != Verb::kHelp) {
    if (line_.verb != Verb::kRehearse && line_.verb != Verb::kRun) {
      Reject("only the command to rehearse or run comes after '--'");
    }
    if (line_.command.empty()) {
      Reject(absl::StrCat(TextOf(line_.verb).name,
                          " needs a command after '--'"));
    }
  }
  const absl::Status complete = CompleteCommandLine(line_);
  if (!complete.ok()) Reject(std::string(complete.message()));
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
    // "--name: 1 required PATH missing", "--name was given a disallowed ..."
    const absl::string_view text = error.what();
    const size_t colon = text.find(':');
    if (colon == absl::string_view::npos) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--", text.substr(0, text.find(' ')), " takes no value"));
    }
    return absl::InvalidArgumentError(
        absl::StrCat(text.substr(0, colon), " needs a value"));
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
    verb.runs_command =
        text.verb == Verb::kRehearse || text.verb == Verb::kRun;
    model.verbs.push_back(std::move(verb));
  }
  return model;
}

}  // namespace handoff
