#include "tools/load/steady_client.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace handoff::load {

SteadyClient::SteadyClient(const SteadyWork* work, const sockaddr_in& server,
                           EventLoop* loop, SteadyFigures* figures)
    : work_(*work),
      server_(server),
      loop_(*loop),
      figures_(*figures),
      connection_(loop, this),
      timer_(loop->AddTimer(this)) {}

SteadyClient::~SteadyClient() { loop_.RemoveTimer(timer_); }

void SteadyClient::Open() {
  start_ = due_ = loop_.now();
  end_ = due_ + absl::Nanoseconds(1);
  loop_.SetTimer(timer_, due_);
}

void SteadyClient::Begin(absl::Time start, absl::Time first) {
  start_ = start;
  due_ = first;
  end_ = absl::InfiniteFuture();
  broken_ = reconnected_ = false;
  loop_.SetTimer(timer_, connection_.is_open() ? due_ : loop_.now());
}

void SteadyClient::WindDown() {
  winding_down_ = true;
  end_ = loop_.now();
}

void SteadyClient::End() {
  if (!quiet()) NoteGap();
  if (under_way_) ++figures_.unfinished;
  under_way_ = false;
  end_ = absl::InfinitePast();
  loop_.SetTimer(timer_, absl::InfiniteFuture());
  connection_.Close();
}

void SteadyClient::OnTimer() {
  if (!connection_.is_open()) {
    if (!due() && (!work_.keeps || winding_down_)) {
      // Not for what was due in the past and is no longer asked for.
      if (!quiet()) loop_.SetTimer(timer_, due_);
      return;
    }
    if (loop_.now() < connect_at_) {
      loop_.SetTimer(timer_, connect_at_);
      return;
    }
    Connect();
    if (!connection_.is_open()) return;
  }
  if (under_way_) return;
  if (due()) {
    under_way_ = true;
    connection_.Start(work_.exchange, absl::ZeroDuration());
  } else if (!quiet()) {
    loop_.SetTimer(timer_, due_);
  }
}

void SteadyClient::Connect() {
  if (!connection_.Open(server_, /*small_buffers=*/false).ok()) {
    Broke(connection_.failure());
  }
}

void SteadyClient::OnAnswer(const std::string&) {
  const absl::Time now = loop_.now();
  NoteGap();
  ++figures_.ok;
  figures_.latency.Add(due_ - start_, now - due_);
  answered_ = now;
  if (work_.keeps && reconnected_) ++figures_.reconnects;
  under_way_ = in_vain_ = reconnected_ = false;
  if (!work_.keeps) {
    connection_.Close();
  } else if (connection_.answer_closes()) {
    connection_.Close();
    broken_ = reconnected_ = true;
    figures_.AddCause("closed with an answer that said so");
  }
  due_ = work_.interval == absl::ZeroDuration() ? now : due_ + work_.interval;
  const bool connects = work_.keeps && !connection_.is_open();
  loop_.SetTimer(timer_, connects ? now : due_);
}

void SteadyClient::OnFailure(const std::string&) {
  Broke(connection_.failure());
}

void SteadyClient::Broke(const Connection::Failure& failure) {
  using Kind = Connection::Failure::Kind;
  const bool refused = failure.kind == Kind::kRefused;
  if (refused) ++figures_.refused;
  if (failure.kind == Kind::kReset) ++figures_.reset;
  if (failure.in_flight) ++figures_.lost;
  figures_.AddCause(
      absl::StrCat(failure.what, failure.in_flight ? ", in flight" : ""));
  broken_ = reconnected_ = true;
  under_way_ = false;
  // At once, but not again and again where that leads nowhere.
  connect_at_ = loop_.now();
  if (refused || in_vain_) connect_at_ += kRetry;
  in_vain_ = true;
  loop_.SetTimer(timer_, connect_at_);
}

void SteadyClient::NoteGap() {
  figures_.longest_gap =
      std::max(figures_.longest_gap, loop_.now() - std::max(due_, answered_));
}

}  // namespace handoff::load
