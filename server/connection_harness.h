#ifndef HANDOFF_SERVER_CONNECTION_HARNESS_H_
#define HANDOFF_SERVER_CONNECTION_HARNESS_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/connection.h"

namespace handoff::server {

// A client and a Connection at the two ends of a socketpair, with a clock that
// only Sleep() moves. Everything runs in the test's thread. Checks at every
// step that the connection calls Changed() where what it saves has changed.
class ConnectionHarness : public ConnectionOwner {
 public:
  ConnectionHarness();

  ServiceInfo& info() { return info_; }
  Rooms& rooms() { return rooms_; }
  // Hands out what others have said.
  void Deliver() { desk_.Deliver(); }
  bool open() const { return connection_ != nullptr; }
  const Connection& connection() const { return *connection_; }

  // The client's side. Receive() takes what has arrived, at most `limit` bytes.
  // Send() lets the service run wherever the socket is full.
  void Send(absl::string_view bytes);
  void EndSending();
  std::string Receive(size_t limit = 1 << 30);
  // FIN or a reset has arrived, behind what Receive() has taken.
  bool ended() const { return client_ended_; }

  // The service's side: calls the connection for whatever its socket is ready
  // for, until there is nothing; or once.
  void Run();
  bool RunOnce();
  void Drain();
  // Lets time pass, stopping at every time the connection asks for.
  void Sleep(absl::Duration duration);
  Connection::Next outcome() const { return outcome_; }

  // Saves the connection, and restores it into a new one, through bytes.
  void Move(uint32_t version = kHighestStateVersion);
  // The two halves of it. RestoreFrom() puts a new connection in place.
  v1::HttpConnection Saved(uint32_t version) const;
  absl::Status RestoreFrom(uint32_t version, const v1::HttpConnection& state,
                           absl::string_view input, absl::string_view output);

  // Small, so that answers are written in many pieces.
  void ShrinkSocketBuffers();
  bool body_in_file() const { return body_.valid(); }

  // ConnectionOwner:
  uint64_t id() const override { return 7; }
  uint32_t handoffs() const override { return 3; }
  void Changed() override { changed_ = true; }
  void WriteSoon() override { changed_ = true; }
  ChatDesk* desk() override { return &desk_; }
  absl::StatusOr<int> KeepBody(UniqueFd file) override;
  void CloseBody() override { body_.reset(); }

 private:
  void Act(Connection::Next (Connection::*event)(absl::Time));

  ServiceInfo info_;
  Rooms rooms_{&info_, 10};
  ChatDesk desk_{&rooms_};
  Scratch scratch_;
  UniqueFd client_;
  UniqueFd served_;
  UniqueFd body_;
  absl::Time now_ = absl::FromUnixSeconds(100'000);
  std::unique_ptr<Connection> connection_;
  Connection::Next outcome_ = Connection::Next::kWait;
  bool client_ended_ = false;
  bool changed_ = false;
};

// For messages: how long `text` is and how it begins.
std::string Brief(absl::string_view text);

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_CONNECTION_HARNESS_H_
