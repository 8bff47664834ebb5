#include "tools/command_line.h"

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace handoff {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

using Arguments = std::vector<absl::string_view>;

CommandLine Parsed(const Arguments& arguments) {
  const auto command = ParseCommandLine(arguments);
  EXPECT_TRUE(command.ok())
      << absl::StrJoin(arguments, " ") << ": " << command.status();
  return command.ok() ? *command : CommandLine();
}

// What is said of a command line that is wrong.
std::string Complaint(const Arguments& arguments) {
  const auto command = ParseCommandLine(arguments);
  EXPECT_TRUE(absl::IsInvalidArgument(command.status()))
      << absl::StrJoin(arguments, " ") << ": " << command.status();
  return std::string(command.status().message());
}

TEST(ParseCommandLineTest, KnowsTheVerbs) {
  EXPECT_EQ(Parsed({"status", "--handoff=p"}).verb, Verb::kStatus);
  EXPECT_EQ(Parsed({"list", "--handoff=p"}).verb, Verb::kList);
  EXPECT_EQ(Parsed({"ledger", "--handoff=p"}).verb, Verb::kLedger);
}

TEST(ParseCommandLineTest, WhatFollowsTwoDashesIsTheCommandToRehearse) {
  const CommandLine command =
      Parsed({"rehearse", "--handoff=p", "--", "server", "--handoff=q", "--",
              "list"});
  EXPECT_EQ(command.verb, Verb::kRehearse);
  EXPECT_EQ(command.path, "p");
  EXPECT_EQ(command.command, std::vector<std::string>(
                                 {"server", "--handoff=q", "--", "list"}));
  EXPECT_EQ(command.timeout, absl::Minutes(2));
  EXPECT_EQ(Parsed({"--timeout=5s", "rehearse", "--handoff=p", "--", "server"})
                .timeout,
            absl::Seconds(5));
  for (const Arguments& arguments :
       {Arguments{"rehearse", "--handoff=p"},
        Arguments{"rehearse", "--handoff=p", "--"}}) {
    EXPECT_THAT(Complaint(arguments), HasSubstr("needs -- COMMAND"));
  }
  EXPECT_THAT(Complaint({"rehearse", "--handoff=p", "server"}),
              HasSubstr("too many: 'server'"));
  EXPECT_THAT(Complaint({"rehearse", "--", "server"}),
              HasSubstr("needs --handoff"));
}

TEST(ParseCommandLineTest, HasDefaults) {
  const CommandLine command = Parsed({"status", "--handoff=/run/x/handoff"});
  EXPECT_EQ(command.path, "/run/x/handoff");
  EXPECT_EQ(command.format, Format::kText);
  EXPECT_EQ(command.timeout, absl::Seconds(5));
}

TEST(ParseCommandLineTest, OptionsComeBeforeOrAfterTheVerbWithOrWithoutEquals) {
  for (const Arguments& arguments : {
           Arguments{"--handoff=p", "--format=json", "--timeout=1m", "list"},
           Arguments{"list", "--handoff=p", "--format=json", "--timeout=1m"},
           Arguments{"--handoff", "p", "list", "--format", "json", "--timeout",
                     "1m"},
       }) {
    const CommandLine command = Parsed(arguments);
    EXPECT_EQ(command.verb, Verb::kList);
    EXPECT_EQ(command.path, "p");
    EXPECT_EQ(command.format, Format::kJson);
    EXPECT_EQ(command.timeout, absl::Minutes(1));
  }
}

TEST(ParseCommandLineTest, TheLastOptionOfANameCounts) {
  const CommandLine command = Parsed({"list", "--handoff=a", "--format=json",
                                      "--handoff=b=c", "--format=text"});
  EXPECT_EQ(command.path, "b=c");
  EXPECT_EQ(command.format, Format::kText);
}

TEST(ParseCommandLineTest, HelpComesInEveryForm) {
  for (const Arguments& arguments :
       {Arguments{"--help"}, Arguments{"-h"}, Arguments{"help"}}) {
    const CommandLine command = Parsed(arguments);
    EXPECT_EQ(command.verb, Verb::kHelp);
    EXPECT_EQ(HelpText(command.topic), HelpText(""))
        << absl::StrJoin(arguments, " ");
  }
  for (const Arguments& arguments :
       {Arguments{"help", "list"}, Arguments{"list", "--help"},
        Arguments{"--help", "list"}, Arguments{"help", "list", "-h"}}) {
    const CommandLine command = Parsed(arguments);
    EXPECT_EQ(command.verb, Verb::kHelp);
    EXPECT_EQ(command.topic, "list") << absl::StrJoin(arguments, " ");
  }
}

TEST(ParseCommandLineTest, SaysWhatIsWrong) {
  EXPECT_THAT(Complaint({}), HasSubstr("a verb is missing"));
  EXPECT_THAT(Complaint({"--handoff=p"}), HasSubstr("a verb is missing"));
  EXPECT_THAT(Complaint({"frob"}), HasSubstr("unknown verb 'frob'"));
  EXPECT_THAT(Complaint({""}), HasSubstr("unknown verb ''"));
  EXPECT_THAT(Complaint({"help", "frob"}), HasSubstr("unknown verb 'frob'"));
  EXPECT_THAT(Complaint({"help", "list", "status"}), HasSubstr("too many"));
  EXPECT_THAT(Complaint({"list", "p"}), HasSubstr("too many: 'p'"));
  EXPECT_THAT(Complaint({"list"}), HasSubstr("list needs --handoff"));
  EXPECT_THAT(Complaint({"list", "--handoff=", "--format=json"}),
              HasSubstr("'--handoff=' needs a value"));
  EXPECT_THAT(Complaint({"list", "--handoff"}), HasSubstr("needs a value"));
  for (const absl::string_view option :
       {"--frob", "--frob=1", "-handoff=p", "--handoffs=p", "--hand=p", "-",
        "-x=handoff"}) {
    EXPECT_THAT(Complaint({"list", option}), HasSubstr("unknown option"));
  }
  EXPECT_THAT(Complaint({"list", "--handoff=p", "++"}), HasSubstr("too many"));
  EXPECT_THAT(Complaint({"list", "--handoff=p", "--"}),
              HasSubstr("comes after '--'"));
  EXPECT_THAT(Complaint({"completion"}), HasSubstr("needs the name of a shell"));
  EXPECT_THAT(Complaint({"completion", "tcsh"}), HasSubstr("not 'tcsh'"));
  EXPECT_THAT(Complaint({"list", "--handoff=p", "--format=xml"}),
              HasSubstr("'xml'"));
  for (const absl::string_view value :
       {"", "5", "0", "0s", "-1s", "61m", "inf", "soon"}) {
    EXPECT_THAT(Complaint({"list", "--handoff=p", "--timeout", value}),
                HasSubstr("--timeout is a time up to 1h"));
  }
}

TEST(HelpTextTest, EachVerbHasItsOwnAndTheCommandNamesThemAll) {
  for (const absl::string_view verb :
       {"help", "completion", "status", "list", "ledger", "rehearse"}) {
    EXPECT_THAT(HelpText(verb),
                StartsWith(std::string("usage: handoff ") + std::string(verb)));
    EXPECT_THAT(HelpText(""), HasSubstr(std::string(verb)));
  }
}

TEST(HelpTextTest, EachLineHasAtMost80Columns) {
  std::vector<std::string> topics = {""};
  for (const VerbText& verb : VerbTexts()) topics.emplace_back(verb.name);
  for (const std::string& topic : topics) {
    for (const absl::string_view line : absl::StrSplit(HelpText(topic), '\n')) {
      EXPECT_LE(line.size(), 80u) << line;
    }
  }
}

const OptionModel* Find(const std::vector<OptionModel>& options,
                        absl::string_view name) {
  for (const OptionModel& option : options) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

TEST(ModelOfCommandTest, HasWhatCanBeCompleted) {
  const CommandModel model = ModelOfCommand();
  EXPECT_EQ(model.verbs.size(), VerbTexts().size());
  for (const VerbModel& verb : model.verbs) {
    SCOPED_TRACE(verb.name);
    EXPECT_FALSE(verb.description.empty());
    const OptionModel* const help = Find(verb.options, "--help");
    ASSERT_NE(help, nullptr);
    EXPECT_FALSE(help->takes_value);
    EXPECT_EQ(verb.runs_command, verb.name == "rehearse");
    if (verb.name == "completion") {
      EXPECT_EQ(verb.values,
                (std::vector<std::string>{"bash", "zsh", "fish"}));
    }
  }
  const OptionModel* const format = Find(model.options, "--format");
  ASSERT_NE(format, nullptr);
  EXPECT_TRUE(format->takes_value);
  EXPECT_EQ(format->values, (std::vector<std::string>{"text", "json"}));
  const OptionModel* const path = Find(model.options, "--handoff");
  ASSERT_NE(path, nullptr);
  EXPECT_TRUE(path->path);
  EXPECT_EQ(path->values, std::vector<std::string>());
}

}  // namespace
}  // namespace handoff
