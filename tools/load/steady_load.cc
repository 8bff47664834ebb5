#include "tools/load/steady_load.h"

#include <signal.h>

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tools/load/pattern.h"

namespace handoff::load {
namespace {

// How late a request may be sent because of this side's timers; it is part of
// each latency.
constexpr absl::Duration kGrain = absl::Microseconds(20);
constexpr absl::Duration kTick = absl::Milliseconds(10);
constexpr absl::Duration kCheck = absl::Seconds(1);

constexpr absl::Duration kUploadPiece = absl::Milliseconds(50);

volatile sig_atomic_t stop_asked = 0;

Exchange Get(absl::string_view host, absl::string_view path,
             absl::string_view more = "") {
  Exchange exchange;
  exchange.request = absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: ", host,
                                  "\r\n", more, "\r\n");
  return exchange;
}

std::string Ms(absl::Duration duration) {
  return absl::StrFormat("%.3f", absl::ToDoubleMilliseconds(duration));
}

// As JSON has it: a server's words may be in it.
std::string Quoted(absl::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      absl::StrAppend(&quoted, "\\", absl::string_view(&c, 1));
    } else if (c >= ' ' && c <= '~') {
      quoted.push_back(c);
    } else {
      absl::StrAppendFormat(&quoted, "\\u%04x", static_cast<uint8_t>(c));
    }
  }
  return absl::StrCat(quoted, "\"");
}

std::string FormatFigures(const SteadyFigures& figures) {
  const LatencyRecorder& latency = figures.latency;
  std::string json = absl::StrCat(
      "\"ok\": ", figures.ok, ", \"lost\": ", figures.lost,
      ", \"refused\": ", figures.refused, ", \"reset\": ", figures.reset,
      ", \"unfinished\": ", figures.unfinished);
  absl::StrAppend(&json, ", \"p50_ms\": ", Ms(latency.Percentile(0.5)),
                  ", \"p99_ms\": ", Ms(latency.Percentile(0.99)),
                  ", \"p999_ms\": ", Ms(latency.Percentile(0.999)),
                  ", \"max_ms\": ", Ms(latency.Percentile(1)),
                  ", \"longest_gap_ms\": ", Ms(figures.longest_gap));
  absl::StrAppend(&json, ", \"causes\": {",
                  absl::StrJoin(figures.causes, ", ",
                                [](std::string* out, const auto& cause) {
                                  absl::StrAppend(out, Quoted(cause.first),
                                                  ": ", cause.second);
                                }),
                  "}");
  return json;
}

}  // namespace

SteadyWork KeptWork(absl::string_view host, absl::string_view path,
                    absl::Duration interval) {
  return {"kept", Get(host, path), true, interval};
}

SteadyWork ShortWork(absl::string_view host, absl::string_view path,
                     absl::Duration interval) {
  return {"short", Get(host, path, "Connection: close\r\n"), false, interval};
}

SteadyWork DownloadWork(absl::string_view host, absl::string_view path,
                        uint64_t bytes) {
  SteadyWork work = {"downloads", Get(host, path), false, {}};
  work.exchange.length = bytes;
  work.exchange.paced = true;
  return work;
}

SteadyWork UploadWork(absl::string_view host, absl::string_view path,
                      size_t bytes, absl::Duration time) {
  SteadyWork work = {"uploads", {}, false, {}};
  Exchange& exchange = work.exchange;
  exchange.request = absl::StrCat("POST ", path, " HTTP/1.1\r\nHost: ", host,
                                  "\r\nContent-Length: ", bytes, "\r\n\r\n",
                                  Pattern(0, bytes));
  exchange.length = bytes;
  const int64_t pieces = std::max<int64_t>(1, time / kUploadPiece);
  exchange.send_piece = exchange.request.size() / pieces + 1;
  exchange.send_interval = kUploadPiece;
  return work;
}

SteadyLoad::SteadyLoad(const sockaddr_in& server)
    : server_(server), loop_(kGrain) {}

void SteadyLoad::Stop() { stop_asked = 1; }

bool SteadyLoad::stopped() { return stop_asked != 0; }

void SteadyLoad::Add(SteadyWork work, size_t clients, absl::Duration spread) {
  auto& crowd = *crowds_.emplace_back(std::make_unique<Crowd>());
  crowd.work = std::move(work);
  crowd.spread = spread;
  for (size_t i = 0; i < clients; ++i) {
    crowd.clients.push_back(std::make_unique<SteadyClient>(
        &crowd.work, server_, &loop_, &crowd.figures));
  }
}

absl::Status SteadyLoad::Open(double rate, absl::Duration most) {
  std::vector<SteadyClient*> kept;
  for (const auto& crowd : crowds_) {
    if (!crowd->work.keeps) continue;
    for (const auto& client : crowd->clients) kept.push_back(client.get());
  }
  const absl::Time start = MonotonicNow();
  size_t opened = 0;
  while (!absl::c_all_of(kept, [](const auto* c) { return c->open(); })) {
    const absl::Duration elapsed = MonotonicNow() - start;
    if (elapsed > most || stopped()) {
      const auto open =
          absl::c_count_if(kept, [](const auto* c) { return c->open(); });
      return absl::DeadlineExceededError(
          absl::StrCat(open, " of ", kept.size(), " connections are open"));
    }
    const double due = absl::ToDoubleSeconds(elapsed) * rate + 1;
    while (opened < kept.size() && static_cast<double>(opened) < due) {
      kept[opened++]->Open();
    }
    Poll(absl::Milliseconds(1));
  }
  return absl::OkStatus();
}

void SteadyLoad::Begin() {
  begun_ = MonotonicNow();
  for (const auto& crowd : crowds_) {
    crowd->figures = {};
    const double count = static_cast<double>(crowd->clients.size());
    for (size_t i = 0; i < crowd->clients.size(); ++i) {
      crowd->clients[i]->Begin(
          begun_, begun_ + crowd->spread * (static_cast<double>(i) / count));
    }
  }
}

void SteadyLoad::Poll(absl::Duration most) {
  loop_.Poll(most);
  if (loop_.now() < next_check_) return;
  next_check_ = loop_.now() + kCheck;
  for (const auto& crowd : crowds_) {
    for (const auto& client : crowd->clients) client->CheckPatience();
  }
}

void SteadyLoad::WindDown() {
  ended_ = loop_.now();
  for (const auto& crowd : crowds_) {
    for (const auto& client : crowd->clients) client->WindDown();
  }
}

void SteadyLoad::End() {
  const auto quiet = [](const auto& crowd) {
    return absl::c_all_of(crowd->clients,
                          [](const auto& client) { return client->quiet(); });
  };
  while (!absl::c_all_of(crowds_, quiet) && loop_.now() < ended_ + kWindDown) {
    Poll(kTick);
  }
  survived_ = survived();
  for (const auto& crowd : crowds_) {
    for (const auto& client : crowd->clients) client->End();
  }
}

const SteadyFigures& SteadyLoad::figures(absl::string_view name) const {
  return (*absl::c_find_if(
              crowds_,
              [name](const auto& crowd) { return crowd->work.name == name; }))
      ->figures;
}

size_t SteadyLoad::survived() const {
  size_t survived = survived_;
  for (const auto& crowd : crowds_) {
    if (!crowd->work.keeps) continue;
    survived += absl::c_count_if(
        crowd->clients, [](const auto& client) { return client->survived(); });
  }
  return survived;
}

std::string SteadyLoad::FormatJson() const {
  std::string json =
      absl::StrFormat("{\"started\": %.6f, \"seconds\": %.3f",
                      absl::ToDoubleSeconds(begun_ - absl::UnixEpoch()),
                      absl::ToDoubleSeconds(ended_ - begun_));
  SteadyFigures all;
  for (const auto& crowd : crowds_) {
    all.ok += crowd->figures.ok;
    all.lost += crowd->figures.lost;
    all.refused += crowd->figures.refused;
    all.reset += crowd->figures.reset;
  }
  absl::StrAppend(&json, ", \"ok\": ", all.ok, ", \"lost\": ", all.lost,
                  ", \"refused\": ", all.refused, ", \"reset\": ", all.reset);
  for (const auto& crowd : crowds_) {
    absl::StrAppend(&json, ", \"", crowd->work.name,
                    "\": {\"clients\": ", crowd->clients.size());
    if (crowd->work.keeps) {
      absl::StrAppend(&json, ", \"survived\": ", survived_,
                      ", \"reconnects\": ", crowd->figures.reconnects);
    }
    absl::StrAppend(&json, ", ", FormatFigures(crowd->figures), "}");
  }
  return absl::StrCat(json, "}");
}

}  // namespace handoff::load
