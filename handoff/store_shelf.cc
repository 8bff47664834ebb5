#include "handoff/store_shelf.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "handoff/protocol/settings.h"

namespace handoff {
namespace {

// '-' is no digit of base 36, so a log's name is no session's.
constexpr char kLogPrefix[] = "~log-";
// 36^13 > 2^64.
constexpr size_t kMaxDigits = 13;

std::string Base36(uint64_t number) {
  std::string digits;
  do {
    digits.push_back("0123456789abcdefghijklmnopqrstuvwxyz"[number % 36]);
    number /= 36;
  } while (number > 0);
  std::reverse(digits.begin(), digits.end());
  return digits;
}

void Mix(uint64_t& hash, uint64_t number) {
  for (int i = 0; i < 8; ++i) {
    hash = (hash ^ ((number >> (8 * i)) & 0xff)) * 0x100000001b3;
  }
}

}  // namespace

std::string StoredSessionName(uint64_t id) {
  return absl::StrCat(std::string(1, kStorePrefix), Base36(id));
}

std::string StoredLogName(uint64_t made_at) {
  return absl::StrCat(kLogPrefix, Base36(made_at));
}

bool IsStoredLogName(absl::string_view name) {
  return absl::StartsWith(name, kLogPrefix);
}

absl::optional<uint64_t> StoredSessionOf(absl::string_view name) {
  if (name.size() < 2 || name.size() > kMaxDigits + 1 ||
      name.front() != kStorePrefix) {
    return absl::nullopt;
  }
  uint64_t id = 0;
  for (const char c : name.substr(1)) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && (c < 'a' || c > 'z')) return absl::nullopt;
    id = id * 36 + static_cast<uint64_t>(digit ? c - '0' : c - 'a' + 10);
  }
  // One name for each id: no zeros in front, nothing beyond 64 bits.
  if (StoredSessionName(id) != name) return absl::nullopt;
  return id;
}

absl::Status CheckStorable(absl::string_view name) {
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return c >= ' ' && c < 127 && c != ':';
  });
  if (plain && !name.empty() && name.size() <= kMaxNameBytes &&
      name.front() != kStorePrefix) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("nothing can be stored under the name \"", name,
                   "\": ASCII without \":\", and no \"~\" in front"));
}

uint64_t Fingerprint(absl::Span<const v1::DescriptorInfo> infos) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const v1::DescriptorInfo& info : infos) {
    Mix(hash, static_cast<uint64_t>(info.kind()));
    Mix(hash, info.socket_cookie());
    Mix(hash, info.device());
    Mix(hash, info.inode());
  }
  return hash;
}

StoreShelf::StoreShelf(DescriptorStore* store, const v1::StoreContents& holds)
    : store_(store) {
  for (const v1::StoreContents::Item& item : holds.items()) {
    items_[item.name()].held = item.fingerprint();
  }
}

void StoreShelf::Enqueue(const std::string& name, Item& item) {
  if (!std::exchange(item.queued, true)) queue_.push_back(name);
}

void StoreShelf::Count(const std::string& name, Item& item, size_t count) {
  descriptors_ += count - item.count;
  name_bytes_ += (count - item.count) * (name.size() + 1);
  item.count = count;
}

void StoreShelf::Want(const std::string& name, std::vector<SharedFd> fds,
                      uint64_t fingerprint, bool connection) {
  Item& item = items_[name];
  Count(name, item, fds.size());
  item.wanted = fingerprint;
  item.connection = connection;
  if (item.held == fingerprint) {
    item.fds.clear();
    return;
  }
  item.fds = std::move(fds);
  Enqueue(name, item);
}

void StoreShelf::Unwant(const std::string& name) {
  const auto it = items_.find(name);
  if (it == items_.end()) return;
  Item& item = it->second;
  Count(name, item, 0);
  item.wanted.reset();
  item.fds.clear();
  if (item.held.has_value()) return Enqueue(name, item);
  if (item.queued) {
    queue_.erase(std::find(queue_.begin(), queue_.end(), name));
  }
  items_.erase(it);
}

bool StoreShelf::Carry(const std::string& name, Item& item,
                       absl::Status& failed) {
  if (item.held.has_value() && item.held != item.wanted) {
    absl::Status s = store_->Forget(name);
    if (absl::IsUnavailable(s)) {
      stalled_ = std::move(s);
      return false;
    }
    item.held.reset();
  }
  if (item.wanted.has_value() && !item.held.has_value()) {
    std::vector<int> fds;
    for (const SharedFd& fd : item.fds) fds.push_back(fd->get());
    absl::Status s = store_->Keep(name, fds, item.connection);
    if (absl::IsUnavailable(s)) {
      stalled_ = std::move(s);
      return false;
    }
    if (s.ok()) {
      item.held = item.wanted;
    } else {
      failed = s;
      item.wanted.reset();
      Count(name, item, 0);
    }
  }
  item.fds.clear();
  return true;
}

absl::Status StoreShelf::Flush() {
  absl::Status failed;
  stalled_ = absl::OkStatus();
  for (int n = 0; n < kMostAtOnce && !queue_.empty(); ++n) {
    const std::string name = queue_.front();
    const auto it = items_.find(name);
    if (!Carry(name, it->second, failed)) break;
    queue_.pop_front();
    it->second.queued = false;
    if (!it->second.held.has_value()) items_.erase(it);
  }
  return failed;
}

void StoreShelf::DropRequests() {
  for (const std::string& name : std::exchange(queue_, {})) {
    const auto it = items_.find(name);
    Item& item = it->second;
    item.queued = false;
    item.fds.clear();
    item.wanted.reset();
    Count(name, item, 0);
    if (!item.held.has_value()) items_.erase(it);
  }
}

size_t StoreShelf::Wanted(const std::string& name) const {
  const auto it = items_.find(name);
  return it == items_.end() ? 0 : it->second.count;
}

std::vector<std::string> StoreShelf::names() const {
  std::vector<std::string> names;
  for (const auto& [name, item] : items_) names.push_back(name);
  return names;
}

v1::StoreContents StoreShelf::Contents() const {
  v1::StoreContents contents;
  for (const auto& [name, item] : items_) {
    if (!item.held.has_value()) continue;
    v1::StoreContents::Item* const held = contents.add_items();
    held->set_name(name);
    held->set_fingerprint(*item.held);
  }
  return contents;
}

}  // namespace handoff
