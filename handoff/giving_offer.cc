// How a handoff begins: the offer.

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "google/protobuf/descriptor.pb.h"
#include "handoff/clock.h"
#include "handoff/fd/memfd.h"
#include "handoff/giving.h"

namespace handoff {
namespace {

// Descriptors that a handoff may send beyond those that there are now: large
// state in memfds, and connections that arrive while it goes on.
constexpr uint64_t kSpareDescriptors = 512;

uint64_t NewHandoffId() {
  std::random_device random;
  return (uint64_t{random()} << 32) | random();
}

// The files of every state type with all that they import, each once and after
// its imports.
void AddFile(const google::protobuf::FileDescriptor* file,
             std::map<std::string, bool>& added,
             google::protobuf::FileDescriptorSet& set) {
  if (!added.emplace(file->name(), true).second) return;
  for (int i = 0; i < file->dependency_count(); ++i) {
    AddFile(file->dependency(i), added, set);
  }
  file->CopyTo(set.add_file());
}

absl::StatusOr<SharedFd> StateDescriptors(const Options& options) {
  google::protobuf::FileDescriptorSet set;
  std::map<std::string, bool> added;
  for (const StateType& type : options.state_types) {
    if (type.descriptor != nullptr) {
      AddFile(type.descriptor->file(), added, set);
    }
  }
  auto memfd = MakeSealedMemfd("handoff-types", set.SerializeAsString());
  if (!memfd.ok()) return memfd.status();
  return std::make_shared<UniqueFd>(*std::move(memfd));
}

// Unread descriptors above the sender's limit are refused (ETOOMANYREFS,
// unix(7)), and other processes of the user count too.
uint64_t WindowDescriptors(uint64_t wanted) {
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  return std::min<uint64_t>(wanted, std::max<uint64_t>(limit.rlim_cur / 4, 1));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Giving>> Giving::Create(const Process& process,
                                                       Channel& channel,
                                                       const v1::Frame& hello,
                                                       absl::Time now) {
  auto word = SharedWord::Create();
  if (!word.ok()) return word.status();
  auto pidfd = OwnPidfd();
  if (!pidfd.ok()) return pidfd.status();
  auto types = StateDescriptors(*process.options);
  if (!types.ok()) return types.status();

  // The word's descriptor lives in SharedOutcome; a duplicate goes out.
  UniqueFd word_copy(::fcntl(word->fd(), F_DUPFD_CLOEXEC, 0));
  if (!word_copy) return absl::ErrnoToStatus(errno, "cannot copy the word");

  std::unique_ptr<Giving> giving(new Giving(
      process, std::move(channel), SharedOutcome(*std::move(word))));
  // One instant by both clocks, or a phase may be told to begin in the future.
  const absl::Time wall = absl::Now();
  giving->started_ = wall - (MonotonicNow() - now);
  giving->begun_ = now;
  PredecessorMachine::Config config;
  config.deadlines = process.options->deadlines;
  config.limits = process.options->limits;
  config.limits.window_descriptors =
      WindowDescriptors(config.limits.window_descriptors);
  config.kill_stuck_successor = process.options->kill_stuck_successor;
  config.offer.set_handoff_id(NewHandoffId());
  config.offer.set_generation(process.generation);
  config.offer.set_label(process.options->label);
  config.offer.set_descriptors(process.belongings->named.size());
  config.offer.set_sessions(process.roster->size());
  config.offer.set_descriptors_total(process.belongings->named.size() +
                                     process.roster->descriptor_count() +
                                     kSpareDescriptors);
  config.offer_descriptors = {
      std::make_shared<UniqueFd>(*std::move(pidfd)),
      std::make_shared<UniqueFd>(std::move(word_copy)), *std::move(types)};
  for (const StateType& type : process.options->state_types) {
    v1::StateType& writes = config.writes.emplace_back();
    writes.set_name(type.name);
    writes.set_lowest(type.lowest);
    writes.set_highest(type.highest);
  }
  giving->machine_ = std::make_unique<PredecessorMachine>(
      std::move(config), &giving->word_, now);
  giving->machine_->OnFrame(hello, {}, now);
  return giving;
}

}  // namespace handoff
