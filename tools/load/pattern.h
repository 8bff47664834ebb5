#ifndef HANDOFF_TOOLS_LOAD_PATTERN_H_
#define HANDOFF_TOOLS_LOAD_PATTERN_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

// The bytes of every body that the load sends or expects: those of the server's
// GET /stream, which start at 0. Uploads start at an offset of their own, so
// that a byte which is missing, doubled, or another connection's shows.

namespace handoff::load {

inline char PatternByte(uint64_t i) {
  return static_cast<char>((i * 2654435761U >> 13) & 0xff);
}

// Bytes [offset, offset + length).
std::string Pattern(uint64_t offset, size_t length);

// Where `bytes` first differs from the pattern at `offset`; npos if nowhere.
size_t FirstMismatch(absl::string_view bytes, uint64_t offset);

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_PATTERN_H_
