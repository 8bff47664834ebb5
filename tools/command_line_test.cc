#include "tools/command_line.h"

#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
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
  const CommandLine command = Parsed(
      {"rehearse", "--handoff=p", "--", "server", "--handoff=q", "--", "list"});
  EXPECT_EQ(command.verb, Verb::kRehearse);
  EXPECT_EQ(command.path, "p");
  EXPECT_EQ(command.command,
            std::vector<std::string>({"server", "--handoff=q", "--", "list"}));
  EXPECT_EQ(command.timeout, absl::Minutes(2));
  EXPECT_EQ(Parsed({"--timeout=5s", "rehearse", "--handoff=p", "--", "server"})
                .timeout,
            absl::Seconds(5));
  EXPECT_THAT(Complaint({"rehearse", "--handoff=p"}),
              HasSubstr("needs -- COMMAND"));
  EXPECT_THAT(Complaint({"rehearse", "--handoff=p", "--"}),
              HasSubstr("needs a command after '--'"));
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

TEST(ParseCommandLineTest, RunHasListenersAndACommandAndAsksNobody) {
  const CommandLine command =
      Parsed({"run", "--listen=http=tcp:[::1]:80", "--takes_over", "--listen",
              "a=unix:/x=y", "--", "server", "--listen=own"});
  EXPECT_EQ(command.verb, Verb::kRun);
  EXPECT_EQ(command.listeners,
            (std::vector<std::pair<std::string, std::string>>{
                {"http", "tcp:[::1]:80"}, {"a", "unix:/x=y"}}));
  EXPECT_TRUE(command.takes_over);
  EXPECT_EQ(command.command,
            (std::vector<std::string>{"server", "--listen=own"}));
  EXPECT_FALSE(Parsed({"run", "--", "server"}).takes_over);

  EXPECT_THAT(Complaint({"run"}), HasSubstr("-- COMMAND"));
  EXPECT_THAT(Complaint({"run", "--"}), HasSubstr("needs a command"));
  for (const absl::string_view wrong :
       {"--listen=tcp:a:80", "--listen==tcp:a:80", "--listen=a:b=tcp:a:80",
        "--listen=a b=tcp:a:80", "--listen=http"}) {
    EXPECT_THAT(Complaint({"run", wrong, "--", "x"}),
                HasSubstr("--listen is NAME=ADDR"))
        << wrong;
  }
}

TEST(ParseCommandLineTest, AsksTheEndpointWhereItIsGiven) {
  for (const absl::string_view verb : {"status", "list", "ledger", "rehearse",
                                       "upgrade", "watch", "unlock", "abort"}) {
    const CommandLine command = Parsed({verb, "--admin=unix:/run/x"});
    EXPECT_EQ(command.admin.address, "unix:/run/x") << verb;
  }
  EXPECT_EQ(Parsed({"status", "--handoff=p", "--admin=unix:a"}).path, "");
  EXPECT_EQ(Parsed({"--admin=unix:b", "list", "--details"}).details, true);
  const CommandLine command =
      Parsed({"rehearse", "--admin=unix:a", "--handoff=p", "--", "server"});
  EXPECT_EQ(command.admin.address, "") << "it is executed here";
  EXPECT_EQ(command.path, "p");
}

TEST(ParseCommandLineTest, TheEnvironmentIsAskedLast) {
  ASSERT_EQ(::setenv("HANDOFF_ADMIN", "unix:e", 1), 0);
  EXPECT_EQ(Parsed({"status"}).admin.address, "unix:e");
  EXPECT_EQ(Parsed({"status", "--admin=unix:a"}).admin.address, "unix:a");
  EXPECT_EQ(Parsed({"status", "--handoff=p"}).admin.address, "");
  EXPECT_EQ(Parsed({"--handoff=p", "unlock"}).admin.address, "unix:e")
      << "which only the endpoint can";
  ASSERT_EQ(::unsetenv("HANDOFF_ADMIN"), 0);
}

TEST(ParseCommandLineTest, TcpNeedsCertificatesOrToBeCalledInsecure) {
  EXPECT_THAT(Complaint({"status", "--admin=tcp:h:1"}),
              HasSubstr("--admin_ca"));
  EXPECT_TRUE(
      Parsed({"status", "--admin=tcp:h:1", "--admin_insecure_plaintext_tcp"})
          .admin.insecure_tcp);
  ASSERT_EQ(::setenv("HANDOFF_ADMIN_KEY", "k", 1), 0);
  const CommandLine command = Parsed(
      {"status", "--admin=tcp:[::1]:1", "--admin_ca=a", "--admin_cert=c"});
  ASSERT_EQ(::unsetenv("HANDOFF_ADMIN_KEY"), 0);
  EXPECT_EQ(command.admin.ca, "a");
  EXPECT_EQ(command.admin.certificate, "c");
  EXPECT_EQ(command.admin.key, "k");
  for (const absl::string_view address :
       {"x", "unix:", "tcp:", "tcp:x", "tcp::1", "tcp:x:", "/run/x", "tcp:x:0",
        "tcp:x:65536", "tcp:x:http"}) {
    EXPECT_THAT(Complaint({"status", "--admin", address}),
                HasSubstr("--admin is unix:PATH or tcp:HOST:PORT"))
        << address;
  }
}

TEST(ParseCommandLineTest, VerbsHaveOptionsOfTheirOwn) {
  const auto parsed = [](Arguments arguments) {
    arguments.push_back("--admin=unix:a");
    return Parsed(arguments);
  };
  EXPECT_EQ(parsed({"upgrade", "--exe=/opt/x"}).executable, "/opt/x");
  EXPECT_EQ(parsed({"upgrade", "--exe=x"}).executable, "x")
      << "the endpoint has a list";
  EXPECT_EQ(Parsed({"upgrade", "--handoff=p", "--exe=x/y"}).executable,
            std::filesystem::current_path() / "x/y")
      << "the service's working directory is another";
  EXPECT_TRUE(parsed({"upgrade", "--wait"}).wait);
  EXPECT_EQ(parsed({"upgrade"}).timeout, absl::InfiniteDuration());
  EXPECT_EQ(parsed({"rehearse"}).timeout, absl::Minutes(2));

  EXPECT_FALSE(parsed({"watch"}).after.has_value()) << "from now on";
  const CommandLine watch =
      parsed({"watch", "--after=0", "--kind=cut", "--kind", "audit"});
  EXPECT_EQ(watch.after, absl::optional<uint64_t>(0));
  EXPECT_EQ(watch.kinds, (std::vector<std::string>{"cut", "audit"}));

  const CommandLine drain =
      parsed({"drain", "--session", "17", "18", "--session=19"});
  EXPECT_EQ(drain.sessions, (std::vector<uint64_t>{17, 18, 19}));
  EXPECT_EQ(drain.deadline, absl::Seconds(30));
  EXPECT_EQ(parsed({"drain", "--all", "--deadline=1m"}).deadline,
            absl::Minutes(1));

  EXPECT_EQ(parsed({"abort", "--reason=so"}).reason, "so");
  EXPECT_EQ(parsed({"lock", "--reason=so"}).expiry, absl::Hours(1));
  EXPECT_EQ(parsed({"lock", "--reason=so", "--expiry=48h"}).expiry,
            absl::Hours(48));
  EXPECT_EQ(parsed({"accept", "off"}).accept, "off");
}

TEST(ParseCommandLineTest, SaysWhatIsWrongWithThem) {
  const auto complaint = [](Arguments arguments) {
    arguments.push_back("--admin=unix:a");
    return Complaint(arguments);
  };
  EXPECT_THAT(complaint({"upgrade", "--wait", "--exe=x"}), HasSubstr("--wait"));
  EXPECT_THAT(complaint({"upgrade", "--wait=no"}),
              HasSubstr("--wait takes no value"));
  EXPECT_THAT(complaint({"watch", "--after=-1"}), HasSubstr("not '-1'"));
  EXPECT_THAT(complaint({"watch", "--kind=frob"}), HasSubstr("not 'frob'"));
  EXPECT_THAT(complaint({"drain"}), HasSubstr("either --all or --session"));
  EXPECT_THAT(complaint({"drain", "--all", "--session=1"}),
              HasSubstr("either --all or --session"));
  EXPECT_THAT(complaint({"drain", "--session=x"}), HasSubstr("not 'x'"));
  EXPECT_THAT(complaint({"drain", "--all", "--deadline=2h"}),
              HasSubstr("up to 1h"));
  EXPECT_THAT(complaint({"lock"}), HasSubstr("--reason"));
  EXPECT_THAT(complaint({"lock", "--reason=x", "--expiry=169h"}),
              HasSubstr("up to 168h"));
  EXPECT_THAT(complaint({"accept"}), HasSubstr("'on' or 'off'"));
  EXPECT_THAT(complaint({"accept", "maybe"}), HasSubstr("not 'maybe'"));
  EXPECT_THAT(complaint({"status", "--wait"}),
              HasSubstr("unknown option '--wait'"));
  EXPECT_THAT(Complaint({"drain", "--all"}), HasSubstr("drain needs --admin"));
}

TEST(ParseCommandLineTest, SaysWhatIsWrong) {
  EXPECT_THAT(Complaint({}), HasSubstr("a verb is missing"));
  EXPECT_THAT(Complaint({"--handoff=p"}), HasSubstr("a verb is missing"));
  EXPECT_THAT(Complaint({"frob"}), HasSubstr("unknown verb 'frob'"));
  EXPECT_THAT(Complaint({""}), HasSubstr("unknown verb ''"));
  EXPECT_THAT(Complaint({"help", "frob"}), HasSubstr("not 'frob'"));
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
  EXPECT_THAT(Complaint({"completion"}),
              HasSubstr("needs the name of a shell"));
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
  for (const VerbText& verb : VerbTexts()) {
    const std::string name(verb.name);
    EXPECT_THAT(HelpText(name), StartsWith("usage: handoff " + name));
    EXPECT_THAT(HelpText(""), HasSubstr("\n  " + name + " "));
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
    EXPECT_EQ(verb.runs_command, verb.name == "rehearse" || verb.name == "run");
    if (verb.name == "completion") {
      EXPECT_EQ(verb.values, (std::vector<std::string>{"bash", "zsh", "fish"}));
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
