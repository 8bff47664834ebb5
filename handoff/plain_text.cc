#include "handoff/plain_text.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace handoff {

std::string OnOneLine(absl::string_view text) {
  std::string line;
  line.reserve(text.size());
  for (const char c : text) {
    if (c == '\\') {
      line += "\\\\";
    } else if (absl::ascii_isprint(c)) {
      line += c;
    } else {
      absl::StrAppendFormat(&line, "\\x%02x", static_cast<unsigned char>(c));
    }
  }
  return line;
}

std::string Word(absl::string_view text) {
  const bool plain =
      !text.empty() && text != kNothing &&
      std::all_of(text.begin(), text.end(), [](char c) {
        return absl::ascii_isgraph(c) &&
               absl::string_view("\\\",=").find(c) == absl::string_view::npos;
      });
  if (plain) return std::string(text);
  std::string word = "\"";
  for (const char c : text) {
    absl::StrAppend(&word, c == '"' ? "\\\"" : OnOneLine({&c, 1}));
  }
  return word + '"';
}

std::string WordOrNothing(absl::string_view text) {
  return text.empty() ? std::string(kNothing) : Word(text);
}

std::string FormatAge(absl::Duration age) {
  age = absl::Trunc(age, absl::Seconds(1));
  constexpr absl::Duration kDay = absl::Hours(24);
  if (age == absl::ZeroDuration()) return "0s";
  if (age < kDay || age == absl::InfiniteDuration()) {
    return absl::FormatDuration(age);
  }
  return absl::StrCat(age / kDay, "d", (age % kDay) / absl::Hours(1), "h");
}

std::string FormatUtc(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

}  // namespace handoff
