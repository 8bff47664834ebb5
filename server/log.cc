#include "server/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/response.h"

namespace handoff::server {
namespace {

constexpr char kTextLine[] = "%Y-%m-%dT%H:%M:%S.%eZ %P %l %v";
// What is logged is the rest of the object.
constexpr char kJsonLine[] =
    R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","pid":%P,"level":"%l",%v})";

struct OpenedLog {
  LogFormat format;
  spdlog::logger logger;
};
// Never destroyed: threads may log until the very end.
OpenedLog* opened_log = nullptr;

std::string TextOf(absl::string_view event, uint64_t handoff,
                   absl::string_view text) {
  std::string line(event);
  if (handoff != 0) absl::StrAppend(&line, " handoff=", absl::Hex(handoff));
  absl::StrAppend(&line, ": ", text);
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return std::iscntrl(c); },
      ' ');
  return line;
}

std::string JsonOf(absl::string_view event, uint64_t handoff,
                   absl::string_view text) {
  std::string line = "\"event\":";
  AppendJsonString(event, &line);
  if (handoff != 0) {
    absl::StrAppend(&line, ",\"handoff\":\"", absl::Hex(handoff), "\"");
  }
  absl::StrAppend(&line, ",\"text\":");
  AppendJsonString(text, &line);
  return line;
}

void Write(absl::string_view event, uint64_t handoff, absl::string_view text,
           Level level) {
  if (opened_log == nullptr) return;
  const std::string line = opened_log->format == LogFormat::kJson
                               ? JsonOf(event, handoff, text)
                               : TextOf(event, handoff, text);
  opened_log->logger.log(
      level == Level::kInfo ? spdlog::level::info : spdlog::level::warn,
      spdlog::string_view_t(line.data(), line.size()));
}

// What an operator would want to look into.
bool IsTrouble(Event::Kind kind) {
  return kind == Event::Kind::kAborted || kind == Event::Kind::kRefused ||
         kind == Event::Kind::kRejected || kind == Event::Kind::kAdopted ||
         kind == Event::Kind::kRolledBack;
}

}  // namespace

absl::StatusOr<LogFormat> ParseLogFormat(absl::string_view name) {
  if (name == "text") return LogFormat::kText;
  if (name == "json") return LogFormat::kJson;
  return absl::InvalidArgumentError("it is text or json");
}

void OpenLog(LogFormat format) {
  if (opened_log != nullptr) return;
  opened_log = new OpenedLog{
      format,
      spdlog::logger("", std::make_shared<spdlog::sinks::stderr_sink_mt>())};
  opened_log->logger.set_formatter(std::make_unique<spdlog::pattern_formatter>(
      format == LogFormat::kJson ? kJsonLine : kTextLine,
      spdlog::pattern_time_type::utc));
}

void Log(absl::string_view event, absl::string_view text, Level level) {
  Write(event, 0, text, level);
}

void LogObserver::OnEvent(const Event& event) {
  Write(EventKindName(event.kind), event.handoff_id, event.text,
        IsTrouble(event.kind) ? Level::kWarning : Level::kInfo);
}

}  // namespace handoff::server
