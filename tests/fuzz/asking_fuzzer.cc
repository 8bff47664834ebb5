// What the command reads: its arguments, and the frames that answer it. What it
// prints is one line where it should be, and nothing but printable ASCII.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/util/json_util.h"
#include "handoff/plain_text.h"
#include "handoff/query_format.h"
#include "handoff/reply_assembly.h"
#include "tests/fuzz/script.h"
#include "tools/command_line.h"

namespace handoff {
namespace {

void RequirePrintable(const std::string& text) {
  Require(absl::EndsWith(text, "\n"), "what is printed ends its line");
  for (const char c : text) {
    Require(c == '\n' || absl::ascii_isprint(static_cast<unsigned char>(c)),
            "what is printed is printable");
  }
}

ptrdiff_t Lines(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
}

void ReadArguments(const fuzz::Asking& asking) {
  const std::vector<absl::string_view> arguments(asking.arguments().begin(),
                                                 asking.arguments().end());
  const auto command = ParseCommandLine(arguments);
  if (!command.ok()) {
    RequirePrintable(OnOneLine(command.status().message()) + "\n");
    return;
  }
  Require(command->verb == Verb::kHelp ||
              command->verb == Verb::kCompletion ||
              command->path.empty() != command->admin.address.empty(),
          "who asks knows whom");
  Require(command->timeout > absl::ZeroDuration() &&
              (command->timeout <= absl::Hours(1) ||
               command->verb == Verb::kUpgrade),
          "a wait is bounded");
  RequirePrintable(HelpText(command->topic));
}

void Print(const v1::QueryReply& reply) {
  RequirePrintable(FormatStatus(reply.status()));
  RequirePrintable(FormatLedger(reply));
  const std::string inventory = FormatInventory(reply);
  RequirePrintable(inventory);
  Require(Lines(inventory) == 1 + reply.items_size(),
          "a line for each item, and one more");
  const auto json = FormatJson(reply);
  Require(json.ok(), "a reply that was received has a form in JSON");
  Require(Lines(*json) == 1, "JSON is one line");
  v1::QueryReply again;
  Require(google::protobuf::util::JsonStringToMessage(*json, &again).ok(),
          "JSON can be read");
}

void ReadAnswers(const fuzz::Asking& asking) {
  ReplyLimits limits;
  limits.items = 50;
  limits.bytes = 200'000;
  ReplyAssembly assembly(limits);
  uint64_t seq = 1;
  for (const fuzz::Event& event : asking.answers()) {
    auto frame = FrameOf(event, seq);
    if (!frame.has_value()) return;
    ++seq;
    const absl::Status added = assembly.Add(*std::move(frame));
    if (!added.ok()) {
      RequirePrintable(OnOneLine(added.message()) + "\n");
      return;
    }
    Require(assembly.whole().items_size() <= 50 &&
                assembly.whole().handoffs_size() <= 50,
            "a reply is within its limits");
    if (assembly.complete()) return Print(assembly.whole());
  }
}

void Run(const fuzz::Asking& asking) {
  ReadArguments(asking);
  ReadAnswers(asking);
}

}  // namespace
}  // namespace handoff

HANDOFF_FUZZER(fuzz::Asking, Run)
