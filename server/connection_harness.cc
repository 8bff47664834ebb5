#include "server/connection_harness.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace handoff::server {

ConnectionHarness::ConnectionHarness() {
  info_.pid = 1234;
  info_.label = "v1 \"quoted\"";
  info_.generation = 5;
  rooms_.SetWake(desk_.worker(), [] {});
  int pair[2];
  EXPECT_EQ(
      socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
      0);
  client_.reset(pair[0]);
  served_.reset(pair[1]);
  connection_ = std::make_unique<Connection>(&info_, this, &scratch_,
                                             served_.get(), now_);
}

void ConnectionHarness::ShrinkSocketBuffers() {
  const int bytes = 2048;
  setsockopt(served_.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

void ConnectionHarness::Send(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n =
        send(client_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n > 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
      continue;
    }
    ASSERT_TRUE(errno == EAGAIN)
        << "the service closed before it had read " << bytes.size() << " bytes";
    ASSERT_TRUE(RunOnce()) << "the service does not read what the client sends";
  }
}

void ConnectionHarness::EndSending() { shutdown(client_.get(), SHUT_WR); }

std::string ConnectionHarness::Receive(size_t limit) {
  std::string all;
  char bytes[8192];
  while (all.size() < limit) {
    const ssize_t n = recv(client_.get(), bytes,
                           std::min(sizeof(bytes), limit - all.size()), 0);
    if (n > 0) {
      all.append(bytes, static_cast<size_t>(n));
      continue;
    }
    if (n == 0 || errno != EAGAIN) client_ended_ = true;
    break;
  }
  return all;
}

void ConnectionHarness::Act(Connection::Next (Connection::*event)(absl::Time)) {
  const auto saved = [this] {
    return absl::StrCat(Saved(kHighestStateVersion).SerializeAsString(), "|",
                        connection_->input(), "|", connection_->output());
  };
  const std::string before = saved();
  changed_ = false;
  const Connection::Next next = (*connection_.*event)(now_);
  if (next == Connection::Next::kWait) {
    EXPECT_TRUE(changed_ || saved() == before)
        << "the state has changed and Changed() was not called: "
        << Saved(kHighestStateVersion).ShortDebugString();
    return;
  }
  outcome_ = next;
  connection_.reset();
  served_.reset();
}

bool ConnectionHarness::RunOnce() {
  if (connection_ == nullptr) return false;
  pollfd ready = {served_.get(), 0, 0};
  if (connection_->wants_read()) ready.events |= POLLIN;
  if (connection_->wants_write()) ready.events |= POLLOUT;
  if (ready.events == 0 || poll(&ready, 1, 0) <= 0) return false;
  // An error is reported whatever was asked for.
  const bool readable = (ready.revents & ~POLLOUT) != 0;
  Act(readable && connection_->wants_read() ? &Connection::OnReadable
                                            : &Connection::OnWritable);
  return true;
}

void ConnectionHarness::Drain() {
  info_.mode = Mode::kDraining;
  Act(&Connection::OnDrain);
}

void ConnectionHarness::Run() {
  while (RunOnce()) {
  }
}

void ConnectionHarness::Sleep(absl::Duration duration) {
  const absl::Time until = now_ + duration;
  while (connection_ != nullptr) {
    const absl::Time next =
        std::min(connection_->wake_at(), connection_->deadline());
    if (next > until) break;
    now_ = std::max(now_, next);
    Act(&Connection::OnTime);
    Run();
  }
  now_ = until;
}

v1::HttpConnection ConnectionHarness::Saved(uint32_t version) const {
  v1::HttpConnection state;
  connection_->Save(version, &state);
  v1::HttpConnection arrived;
  EXPECT_TRUE(arrived.ParseFromString(state.SerializeAsString()));
  return arrived;
}

absl::Status ConnectionHarness::RestoreFrom(uint32_t version,
                                            const v1::HttpConnection& state,
                                            absl::string_view input,
                                            absl::string_view output) {
  connection_ = std::make_unique<Connection>(&info_, this, &scratch_,
                                             served_.get(), now_);
  return connection_->Restore(version, state, input, output,
                              body_.valid() ? body_.get() : -1, now_);
}

void ConnectionHarness::Move(uint32_t version) {
  if (connection_ == nullptr) return;
  const std::string input(connection_->input());
  const std::string output(connection_->output());
  const absl::Status restored =
      RestoreFrom(version, Saved(version), input, output);
  ASSERT_TRUE(restored.ok()) << restored;
}

absl::StatusOr<int> ConnectionHarness::KeepBody(UniqueFd file) {
  EXPECT_FALSE(body_.valid()) << "a second body at the same time";
  body_ = std::move(file);
  return body_.get();
}

std::string Brief(absl::string_view text) {
  return absl::StrCat(text.size(),
                      " bytes: ", absl::CHexEscape(text.substr(0, 300)));
}

}  // namespace handoff::server
