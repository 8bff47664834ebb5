#include "tools/load/pattern.h"

namespace handoff::load {

std::string Pattern(uint64_t offset, size_t length) {
  std::string bytes(length, '\0');
  for (size_t i = 0; i < length; ++i) bytes[i] = PatternByte(offset + i);
  return bytes;
}

size_t FirstMismatch(absl::string_view bytes, uint64_t offset) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != PatternByte(offset + i)) return i;
  }
  return absl::string_view::npos;
}

}  // namespace handoff::load
