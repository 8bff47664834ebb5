// Large state in a sealed memfd: made, read, closed.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "handoff/fd/memfd.h"
#include "handoff/fd/unique_fd.h"
#include "tests/benchmark/part.h"

namespace handoff {
namespace {

absl::Status Differs() {
  return absl::InternalError("other bytes are read than were written");
}

void Library(size_t size, Measure& measure) {
  const std::string bytes(size, 'x');
  measure.Run([&]() -> absl::Status {
    const absl::StatusOr<UniqueFd> fd = MakeSealedMemfd("state", bytes);
    if (!fd.ok()) return fd.status();
    const absl::StatusOr<std::string> read = ReadSealedMemfd(fd->get(), size);
    if (!read.ok()) return read.status();
    return read->size() == size && read->back() == 'x' ? absl::OkStatus()
                                                       : Differs();
  });
}

// Writes `bytes` into `fd`, and reads them into `buffer`, of the same size.
absl::Status WriteAndRead(int fd, const std::string& bytes,
                          std::string& buffer) {
  buffer.back() = '\0';
  const auto size = static_cast<ssize_t>(bytes.size());
  if (::pwrite(fd, bytes.data(), bytes.size(), 0) != size ||
      ::pread(fd, buffer.data(), buffer.size(), 0) != size ||
      buffer.back() != bytes.back()) {
    return Differs();
  }
  return absl::OkStatus();
}

void OneMemfd(size_t size, Measure& measure) {
  const std::string bytes(size, 'x');
  std::string buffer(size, '\0');
  const UniqueFd fd(::memfd_create("state", MFD_CLOEXEC));
  measure.Run([&] { return WriteAndRead(fd.get(), bytes, buffer); });
}

void NewMemfd(size_t size, Measure& measure) {
  const std::string bytes(size, 'x');
  std::string buffer(size, '\0');
  measure.Run([&] {
    const UniqueFd fd(::memfd_create("state", MFD_CLOEXEC));
    return WriteAndRead(fd.get(), bytes, buffer);
  });
}

const bool kRegistered = [] {
  for (const auto& [size, name] :
       {std::pair<size_t, const char*>(4 << 10, "4 KiB"),
        {64 << 10, "64 KiB"},
        {1 << 20, "1 MiB"}}) {
    const Part part(absl::StrCat("memfd: ", name, " sealed and read"), "memfd");
    part.Handoff([size = size](Measure& m) { Library(size, m); });
    part.Bound("memfd_create, pwrite, pread, close",
               [size = size](Measure& m) { NewMemfd(size, m); });
    part.Bound("pwrite and pread of one memfd",
               [size = size](Measure& m) { OneMemfd(size, m); });
  }
  return true;
}();

}  // namespace
}  // namespace handoff
