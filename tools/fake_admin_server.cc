#include "tools/fake_admin_server.h"

#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace handoff {
namespace {

using grpc::ServerContext;
using grpc::StatusCode;

constexpr uint64_t kHandoffId = 77;
// How long a stream sleeps before it looks whether its caller has left.
constexpr auto kLook = std::chrono::milliseconds(20);

// As the endpoint sends it: what is wrong and what to do, and details.
grpc::Status Problem(StatusCode code, const std::string& text) {
  admin::v1::ErrorStatus details;
  details.set_message(text);
  return grpc::Status(code, text, details.SerializeAsString());
}

admin::v1::Session MakeSession(uint64_t id) {
  admin::v1::Session session;
  session.set_id(id);
  session.set_type("chat");
  session.mutable_age()->set_seconds(65);
  admin::v1::Descriptor& client = *session.add_descriptors();
  client.set_name("client");
  client.set_kind("tcp");
  client.set_local_address("10.0.0.1:80");
  client.set_peer_address(absl::StrCat("10.0.0.9:", id));
  return session;
}

}  // namespace

FakeAdminServer::FakeAdminServer(
    const std::string& target,
    std::shared_ptr<grpc::ServerCredentials> credentials)
    : target_(target) {
  status_.set_role(admin::v1::GetStatusResponse::SERVING);
  status_.set_pid(4821);
  status_.set_generation(2);
  status_.set_label("v2");
  status_.set_accepting(true);
  for (const uint64_t id : {17, 18, 19}) sessions_.push_back(MakeSession(id));
  sessions_.back().set_keep_reason("TLS without kernel TLS");
  grpc::ServerBuilder builder;
  builder.AddListeningPort(target, std::move(credentials), &port_);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    ::fprintf(stderr, "cannot listen at %s\n", target.c_str());
    ::abort();
  }
}

FakeAdminServer::~FakeAdminServer() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    ended_ = true;
  }
  changed_.notify_all();
  // Calls end by themselves once they have noticed.
  server_->Shutdown();
}

std::string FakeAdminServer::address() const {
  return absl::StartsWith(target_, "unix:")
             ? target_
             : absl::StrCat("tcp:127.0.0.1:", port_);
}

void FakeAdminServer::Hold() {
  std::lock_guard<std::mutex> lock(mu_);
  held_ = true;
}

void FakeAdminServer::GoOn() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    held_ = false;
  }
  changed_.notify_all();
}

void FakeAdminServer::AllowReadingOnly() {
  std::lock_guard<std::mutex> lock(mu_);
  read_only_ = true;
}

void FakeAdminServer::AddEvent(const std::string& kind, const std::string& text,
                               uint64_t sequence) {
  std::lock_guard<std::mutex> lock(mu_);
  admin::v1::Event event;
  event.set_sequence(sequence);
  event.set_kind(kind);
  event.set_text(text);
  events_.push_back(event);
  changed_.notify_all();
}

void FakeAdminServer::Forget(uint64_t up_to) {
  std::lock_guard<std::mutex> lock(mu_);
  gone_up_to_ = up_to;
}

bool FakeAdminServer::AwaitWatchers(int count) {
  std::unique_lock<std::mutex> lock(mu_);
  return changed_.wait_for(lock, std::chrono::seconds(30),
                           [&] { return watchers_ >= count; });
}

grpc::Status FakeAdminServer::CheckOperator() const {
  if (!read_only_) return grpc::Status::OK;
  return Problem(StatusCode::PERMISSION_DENIED,
                 "that is for operators; call as an operator");
}

grpc::Status FakeAdminServer::GetStatus(
    ServerContext*, const admin::v1::GetStatusRequest*,
    admin::v1::GetStatusResponse* response) {
  std::lock_guard<std::mutex> lock(mu_);
  *response = status_;
  response->set_sessions(sessions_.size());
  if (under_way_) response->mutable_handoff()->set_handoff_id(kHandoffId);
  response->set_last_event(events_.empty() ? 0 : events_.back().sequence());
  return grpc::Status::OK;
}

grpc::Status FakeAdminServer::ListDescriptors(
    ServerContext*, const admin::v1::ListDescriptorsRequest*,
    grpc::ServerWriter<admin::v1::ListDescriptorsResponse>* writer) {
  admin::v1::ListDescriptorsResponse page;
  admin::v1::Descriptor& listener = *page.add_descriptors();
  listener.set_category("listener");
  listener.set_name("http");
  listener.set_kind("tcp-listener");
  listener.set_local_address("0.0.0.0:80");
  (*listener.mutable_options())["SO_REUSEADDR"] = 1;
  writer->Write(page);
  return grpc::Status::OK;
}

grpc::Status FakeAdminServer::ListSessions(
    ServerContext*, const admin::v1::ListSessionsRequest* request,
    grpc::ServerWriter<admin::v1::ListSessionsResponse>* writer) {
  std::lock_guard<std::mutex> lock(mu_);
  // A page for each.
  for (const admin::v1::Session& session : sessions_) {
    admin::v1::ListSessionsResponse page;
    *page.add_sessions() = session;
    if (request->details()) {
      page.mutable_sessions(0)->mutable_descriptors(0)->set_send_queue(12);
    }
    writer->Write(page);
  }
  return grpc::Status::OK;
}

void FakeAdminServer::SendPhase(
    absl::string_view phase, uint64_t sent, bool rehearsal,
    grpc::ServerWriter<admin::v1::StartHandoffResponse>& writer) {
  admin::v1::StartHandoffResponse response;
  admin::v1::HandoffProgress& progress = *response.mutable_progress();
  progress.set_handoff_id(kHandoffId);
  progress.set_phase(std::string(phase));
  progress.set_rehearsal(rehearsal);
  progress.set_sessions_sent(sent);
  progress.set_sessions_total(3);
  writer.Write(response);
}

grpc::Status FakeAdminServer::StartHandoff(
    ServerContext* context, const admin::v1::StartHandoffRequest* request,
    grpc::ServerWriter<admin::v1::StartHandoffResponse>* writer) {
  const std::string& executable = request->executable();
  std::unique_lock<std::mutex> lock(mu_);
  grpc::Status allowed = CheckOperator();
  if (!allowed.ok()) return allowed;
  if (status_.has_lock()) {
    return Problem(StatusCode::FAILED_PRECONDITION,
                   absl::StrCat("handoffs are locked: ",
                                status_.lock().reason(), "; wait, or Unlock"));
  }
  if (executable == "/opt/crashing") {
    return Problem(StatusCode::ABORTED,
                   "the successor has ended; see its own log");
  }
  const bool known = executable.empty() || executable == "/opt/new" ||
                     executable == "/opt/broken";
  if (!known) {
    return Problem(StatusCode::PERMISSION_DENIED,
                   "the executable is not on the list; have it put there");
  }
  under_way_ = true;
  abort_reason_.clear();
  SendPhase("pre-copy", 0, request->rehearse(), *writer);
  SendPhase("pre-copy", 3, request->rehearse(), *writer);
  SendPhase("staging", 3, request->rehearse(), *writer);
  while (held_ && abort_reason_.empty() && !ended_) {
    if (context->IsCancelled()) return grpc::Status::CANCELLED;
    changed_.wait_for(lock, kLook);
  }
  under_way_ = false;
  admin::v1::StartHandoffResponse last;
  admin::v1::Handoff& result = *last.mutable_result();
  result.set_id(kHandoffId);
  result.set_moved(3);
  const bool broken = executable == "/opt/broken";
  // The last two are over before there is anything to tell of them.
  for (const auto& [name, took] : {std::pair("pre-copy", 80),
                                   {"staging", 30},
                                   {"changes", 2},
                                   {"frozen", 1}}) {
    admin::v1::Phase& phase = *result.add_phases();
    phase.set_name(name);
    phase.mutable_took()->set_nanos(took * 1'000'000);
  }
  if (request->rehearse()) {
    result.set_result(broken ? "failed" : "passed");
    if (broken) {
      admin::v1::LedgerEntry& entry = *last.add_refused();
      entry.set_outcome("refused");
      entry.set_category("session");
      entry.set_session(17);
      entry.set_reason("no such state");
    }
  } else {
    if (broken) abort_reason_ = "the successor refused it";
    result.set_result(abort_reason_.empty() ? "committed" : "aborted");
    result.set_reason(abort_reason_);
    handoffs_.push_back(result);
  }
  writer->Write(last);
  return grpc::Status::OK;
}

grpc::Status FakeAdminServer::AbortHandoff(
    ServerContext*, const admin::v1::AbortHandoffRequest* request,
    admin::v1::AbortHandoffResponse*) {
  std::lock_guard<std::mutex> lock(mu_);
  grpc::Status allowed = CheckOperator();
  if (!allowed.ok()) return allowed;
  if (!under_way_) {
    return Problem(StatusCode::FAILED_PRECONDITION,
                   "no handoff is under way; there is nothing to do");
  }
  abort_reason_ = absl::StrCat("an operator: ", request->reason());
  changed_.notify_all();
  return grpc::Status::OK;
}

grpc::Status FakeAdminServer::Drain(ServerContext*,
                                    const admin::v1::DrainRequest* request,
                                    admin::v1::DrainResponse* response) {
  std::lock_guard<std::mutex> lock(mu_);
  grpc::Status allowed = CheckOperator();
  if (!allowed.ok()) return allowed;
  const size_t before = sessions_.size();
  const auto drained = [&](const admin::v1::Session& session) {
    return request->all() ||
           std::find(request->sessions().begin(), request->sessions().end(),
                     session.id()) != request->sessions().end();
  };
  sessions_.erase(std::remove_if(sessions_.begin(), sessions_.end(), drained),
                  sessions_.end());
  response->set_asked(before - sessions_.size());
  // Whoever gives it a second is given what it asked for.
  const bool at_once = request->deadline().seconds() < 1;
  (at_once ? response->set_cut_off(response->asked())
           : response->set_ended(response->asked()));
  return grpc::Status::OK;
}

grpc::Status FakeAdminServer::SetAccepting(
    ServerContext*, const admin::v1::SetAcceptingRequest* request,
    admin::v1::SetAcceptingResponse*) {
  std::lock_guard<std::mutex> lock(mu_);
  grpc::Status allowed = CheckOperator();
  if (allowed.ok()) status_.set_accepting(request->accepting());
  return allowed;
}

grpc::Status FakeAdminServer::Lock(ServerContext*,
                                   const admin::v1::LockRequest* request,
                                   admin::v1::LockResponse* response) {
  std::lock_guard<std::mutex> lock(mu_);
  grpc::Status allowed = CheckOperator();
  if (!allowed.ok()) return allowed;
  status_.mutable_lock()->set_reason(request->reason());
  status_.mutable_lock()->mutable_expires_at()->set_seconds(
      request->expiry().seconds());
  *response->mutable_lock() = status_.lock();
  return allowed;
}

grpc::Status FakeAdminServer::Unlock(ServerContext*,
                                     const admin::v1::UnlockRequest*,
                                     admin::v1::UnlockResponse*) {
  std::lock_guard<std::mutex> lock(mu_);
  grpc::Status allowed = CheckOperator();
  if (!allowed.ok()) return allowed;
  if (!status_.has_lock()) {
    return Problem(StatusCode::FAILED_PRECONDITION,
                   "there is no lock; there is nothing to do");
  }
  status_.clear_lock();
  return allowed;
}

grpc::Status FakeAdminServer::GetLedger(
    ServerContext*, const admin::v1::GetLedgerRequest*,
    grpc::ServerWriter<admin::v1::GetLedgerResponse>* writer) {
  std::lock_guard<std::mutex> lock(mu_);
  for (const admin::v1::Handoff& handoff : handoffs_) {
    admin::v1::GetLedgerResponse part;
    *part.mutable_handoff() = handoff;
    part.set_handoff_id(handoff.id());
    writer->Write(part);
    part.clear_handoff();
    admin::v1::LedgerEntry& entry = *part.add_entries();
    entry.set_outcome("moved");
    entry.set_category("listener");
    entry.set_name("http");
    writer->Write(part);
  }
  return grpc::Status::OK;
}

grpc::Status FakeAdminServer::WatchEvents(
    ServerContext* context, const admin::v1::WatchEventsRequest* request,
    grpc::ServerWriter<admin::v1::WatchEventsResponse>* writer) {
  std::unique_lock<std::mutex> lock(mu_);
  uint64_t after = request->after();
  if (request->from_now()) {
    after = events_.empty() ? 0 : events_.back().sequence();
  }
  ++watchers_;
  changed_.notify_all();
  while (!context->IsCancelled()) {
    admin::v1::WatchEventsResponse response;
    if (after < gone_up_to_) {
      after = gone_up_to_;
      response.mutable_missed()->set_up_to(after);
      writer->Write(response);
    }
    for (const admin::v1::Event& event : events_) {
      if (event.sequence() <= after) continue;
      after = event.sequence();
      *response.mutable_event() = event;
      writer->Write(response);
    }
    if (ended_) {
      return Problem(StatusCode::UNAVAILABLE, "this process drains; reconnect");
    }
    changed_.wait_for(lock, kLook);
  }
  return grpc::Status::CANCELLED;
}

}  // namespace handoff
