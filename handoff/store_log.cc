#include "handoff/store_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "handoff/fd/memfd.h"

namespace handoff {
namespace {

constexpr char kMagic[8] = {'h', 'a', 'n', 'd', 'o', 'f', 'f', '\n'};
constexpr uint32_t kFormat = 1;

// In the byte order of the machine, which both processes are on.
struct Head {
  char magic[8];
  uint32_t format;
  uint32_t attempts;
  uint64_t generation;
  uint64_t made_at;
  uint64_t committed;  // bytes of the file, the head included
};
static_assert(sizeof(Head) == 40, "the head has no padding");

struct Frame {
  uint32_t bytes;  // of the serialized entry that follows
  uint32_t checksum;
};

constexpr uint64_t kWasteBytes = 1 << 20;
// What waits in memory before it goes to the memfd.
constexpr size_t kPendingBytes = 1 << 20;

// FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv: against accidents only.
uint32_t Checksum(absl::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : bytes) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  }
  return static_cast<uint32_t>(hash ^ (hash >> 32));
}

absl::Status WriteAt(int fd, const char* data, size_t size, uint64_t offset) {
  while (size > 0) {
    const ssize_t n = ::pwrite(fd, data, size, static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      return absl::ErrnoToStatus(errno, "write to the log of the store");
    }
    data += n;
    size -= static_cast<size_t>(n);
    offset += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadAt(int fd, uint64_t offset, uint64_t size) {
  std::string bytes(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t n = ::pread(fd, &bytes[done], size - done,
                              static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      return absl::InvalidArgumentError("the log of the store cannot be read");
    }
    done += static_cast<size_t>(n);
  }
  return bytes;
}

std::string Framed(const v1::StoredEntry& entry) {
  const std::string bytes = entry.SerializeAsString();
  const Frame frame = {static_cast<uint32_t>(bytes.size()), Checksum(bytes)};
  std::string framed(sizeof(frame), '\0');
  std::memcpy(&framed[0], &frame, sizeof(frame));
  return framed + bytes;
}

}  // namespace

StoreLog::StoreLog(UniqueFd fd, StoreLogHead head)
    : fd_(std::make_shared<UniqueFd>(std::move(fd))),
      head_(head),
      committed_(sizeof(Head)),
      written_(sizeof(Head)) {}

absl::StatusOr<std::unique_ptr<StoreLog>> StoreLog::Create(StoreLogHead head) {
  auto fd = MakeMemfd("handoff-store");
  if (!fd.ok()) return fd.status();
  std::unique_ptr<StoreLog> log(new StoreLog(*std::move(fd), head));
  if (absl::Status s = log->WriteHead(); !s.ok()) return s;
  return log;
}

absl::Status StoreLog::WriteHead() {
  Head head = {};
  std::memcpy(head.magic, kMagic, sizeof(kMagic));
  head.format = kFormat;
  head.attempts = head_.attempts;
  head.generation = head_.generation;
  head.made_at = head_.made_at;
  head.committed = committed_;
  return WriteAt(fd_->get(), reinterpret_cast<const char*>(&head), sizeof(head),
                 0);
}

void StoreLog::Append(absl::string_view framed) {
  pending_.append(framed.data(), framed.size());
  if (pending_.size() >= kPendingBytes) Flush();
}

void StoreLog::Flush() {
  if (failed_.ok()) {
    failed_ = WriteAt(fd_->get(), pending_.data(), pending_.size(), written_);
  }
  written_ += pending_.size();
  pending_.clear();
}

void StoreLog::Put(const std::string& key, const v1::StoredEntry& entry) {
  const std::string framed = Framed(entry);
  Place& place = places_[key];
  live_ += framed.size() - place.bytes;
  place = {written_ + pending_.size(), framed.size()};
  Append(framed);
}

void StoreLog::Erase(const std::string& key, const v1::StoredEntry& tombstone) {
  const auto it = places_.find(key);
  if (it == places_.end()) return;
  live_ -= it->second.bytes;
  places_.erase(it);
  Append(Framed(tombstone));
}

absl::Status StoreLog::Commit() {
  Flush();
  if (!failed_.ok() || written_ == committed_) return failed_;
  // One number within one page, which the kernel writes as a whole.
  failed_ = WriteAt(fd_->get(), reinterpret_cast<const char*>(&written_),
                    sizeof(written_), offsetof(Head, committed));
  if (failed_.ok()) committed_ = written_;
  return failed_;
}

absl::Status StoreLog::SetAttempts(uint32_t attempts) {
  head_.attempts = attempts;
  return SetStoreLogAttempts(fd_->get(), attempts);
}

absl::Status StoreLog::SetGeneration(uint64_t generation) {
  head_.generation = generation;
  return WriteAt(fd_->get(), reinterpret_cast<const char*>(&generation),
                 sizeof(generation), offsetof(Head, generation));
}

bool StoreLog::wasteful() const { return committed_ > 2 * live_ + kWasteBytes; }

absl::StatusOr<std::unique_ptr<StoreLog>> StoreLog::Compacted(
    uint64_t made_at) const {
  StoreLogHead head = head_;
  head.made_at = made_at;
  auto log = Create(head);
  if (!log.ok()) return log.status();
  // In the order in which they were put: of descriptors with one name the first
  // stays the first.
  std::vector<std::pair<std::string, Place>> places(places_.begin(),
                                                    places_.end());
  std::sort(places.begin(), places.end(), [](const auto& a, const auto& b) {
    return a.second.offset < b.second.offset;
  });
  for (const auto& [key, place] : places) {
    auto framed = ReadAt(fd_->get(), place.offset, place.bytes);
    if (!framed.ok()) return framed.status();
    (*log)->places_[key] = {(*log)->written_ + (*log)->pending_.size(),
                            place.bytes};
    (*log)->Append(*framed);
  }
  (*log)->live_ = live_;
  if (absl::Status s = (*log)->Commit(); !s.ok()) return s;
  return log;
}

absl::StatusOr<StoreLogContent> ReadStoreLog(int fd, uint64_t max_bytes) {
  struct stat status;
  if (::fstat(fd, &status) < 0) return absl::ErrnoToStatus(errno, "fstat");
  const auto size = static_cast<uint64_t>(status.st_size);
  Head head;
  if (!S_ISREG(status.st_mode) || size < sizeof(head)) {
    return absl::InvalidArgumentError("no log of a store");
  }
  if (size > max_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a log of ", size, " bytes: at most ", max_bytes, " are allowed"));
  }
  auto bytes = ReadAt(fd, 0, size);
  if (!bytes.ok()) return bytes.status();
  std::memcpy(&head, bytes->data(), sizeof(head));
  if (std::memcmp(head.magic, kMagic, sizeof(kMagic)) != 0) {
    return absl::InvalidArgumentError("no log of a store");
  }
  if (head.format != kFormat) {
    return absl::FailedPreconditionError(absl::StrCat(
        "a log of format ", head.format, "; this is format ", kFormat));
  }
  StoreLogContent content;
  content.head = {head.attempts, head.generation, head.made_at};
  absl::string_view left(*bytes);
  if (head.committed < sizeof(head) || head.committed > size) {
    content.rest = absl::InvalidArgumentError(
        absl::StrCat("a log of ", size, " bytes, of which ", head.committed,
                     " are said to count"));
    return content;
  }
  left = left.substr(sizeof(head), head.committed - sizeof(head));
  while (!left.empty()) {
    Frame frame;
    v1::StoredEntry entry;
    const bool whole = left.size() >= sizeof(frame);
    if (whole) std::memcpy(&frame, left.data(), sizeof(frame));
    if (!whole || frame.bytes > left.size() - sizeof(frame) ||
        Checksum(left.substr(sizeof(frame), frame.bytes)) != frame.checksum ||
        !entry.ParseFromArray(left.data() + sizeof(frame),
                              static_cast<int>(frame.bytes))) {
      content.rest = absl::InvalidArgumentError(
          absl::StrCat("a malformed entry after ", content.entries.size()));
      return content;
    }
    content.entries.push_back(std::move(entry));
    left.remove_prefix(sizeof(frame) + frame.bytes);
  }
  return content;
}

absl::Status SetStoreLogAttempts(int fd, uint32_t attempts) {
  return WriteAt(fd, reinterpret_cast<const char*>(&attempts), sizeof(attempts),
                 offsetof(Head, attempts));
}

}  // namespace handoff
