// Clients in closed loops against any HTTP/1.1 server, and what they saw of its
// restarts. Prints `ready` when all kept connections are open, and one JSON
// object as the last line.

#include <arpa/inet.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tools/load/event_loop.h"
#include "tools/load/steady_load.h"

ABSL_FLAG(std::string, address, "127.0.0.1:8080", "IPv4 address and port");
ABSL_FLAG(absl::Duration, duration, absl::ZeroDuration(),
          "how long from `ready` on; 0: until SIGTERM or SIGINT");
ABSL_FLAG(size_t, kept, 64, "clients with one connection for all requests");
ABSL_FLAG(absl::Duration, interval, absl::Milliseconds(10),
          "of each kept client, from one request to the next");
ABSL_FLAG(std::string, kept_path, "/healthz", "what kept clients ask for");
ABSL_FLAG(double, open_rate, 2000, "kept connections opened a second");
ABSL_FLAG(absl::Duration, open_deadline, absl::Seconds(60),
          "for all kept connections to be open");
ABSL_FLAG(size_t, short, 0, "clients with a connection for each request");
ABSL_FLAG(absl::Duration, short_interval, absl::Milliseconds(20),
          "of each short client, from one request to the next");
ABSL_FLAG(std::string, short_path, "/healthz", "what short clients ask for");
ABSL_FLAG(size_t, downloads, 0, "clients that download, one after the other");
ABSL_FLAG(std::string, download_path, "/stream?bytes=600000&rate=200000",
          "what they download: bytes as of handoff_server's /stream");
ABSL_FLAG(uint64_t, download_bytes, 600'000, "the length of that");
ABSL_FLAG(size_t, uploads, 0, "clients that upload, one after the other");
ABSL_FLAG(std::string, upload_path, "/echo", "where they POST: what echoes");
ABSL_FLAG(size_t, upload_bytes, 100'000, "the length of a body");
ABSL_FLAG(absl::Duration, upload_time, absl::Seconds(3),
          "how long a client takes to send it");
ABSL_FLAG(absl::Duration, spread, absl::Seconds(3),
          "over how long the first downloads and uploads are spread");
ABSL_FLAG(std::string, latency_series, "",
          "a file for the latencies of kept clients over time, as CSV");

namespace handoff::load {
namespace {

bool ParseAddress(absl::string_view text, sockaddr_in* address) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(text, absl::MaxSplits(':', 1));
  uint32_t port = 0;
  if (!absl::SimpleAtoi(parts.second, &port) || port == 0 || port > 65535) {
    return false;
  }
  address->sin_family = AF_INET;
  address->sin_port = htons(static_cast<uint16_t>(port));
  return inet_pton(AF_INET, parts.first.c_str(), &address->sin_addr) == 1;
}

void AddClients(SteadyLoad* load) {
  const std::string host = absl::GetFlag(FLAGS_address);
  const absl::Duration spread = absl::GetFlag(FLAGS_spread);
  // A spread over the interval: no two are due together.
  const absl::Duration interval = absl::GetFlag(FLAGS_interval);
  load->Add(KeptWork(host, absl::GetFlag(FLAGS_kept_path), interval),
            absl::GetFlag(FLAGS_kept), interval);
  const absl::Duration short_interval = absl::GetFlag(FLAGS_short_interval);
  load->Add(ShortWork(host, absl::GetFlag(FLAGS_short_path), short_interval),
            absl::GetFlag(FLAGS_short), short_interval);
  load->Add(DownloadWork(host, absl::GetFlag(FLAGS_download_path),
                         absl::GetFlag(FLAGS_download_bytes)),
            absl::GetFlag(FLAGS_downloads), spread);
  load->Add(UploadWork(host, absl::GetFlag(FLAGS_upload_path),
                       absl::GetFlag(FLAGS_upload_bytes),
                       absl::GetFlag(FLAGS_upload_time)),
            absl::GetFlag(FLAGS_uploads), spread);
}

int Main() {
  sockaddr_in server = {};
  if (!ParseAddress(absl::GetFlag(FLAGS_address), &server)) {
    fprintf(stderr, "--address: not an IPv4 address and port\n");
    return 2;
  }
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  // Timers are part of the latencies; the default is 50 microseconds late.
  prctl(PR_SET_TIMERSLACK, 1);
  for (const int number : {SIGINT, SIGTERM}) {
    signal(number, [](int) { SteadyLoad::Stop(); });
  }
  signal(SIGPIPE, SIG_IGN);

  SteadyLoad load(server);
  AddClients(&load);
  const absl::Status opened = load.Open(absl::GetFlag(FLAGS_open_rate),
                                        absl::GetFlag(FLAGS_open_deadline));
  if (!opened.ok()) {
    fprintf(stderr, "%s\n", opened.ToString().c_str());
    return 1;
  }
  load.Begin();
  printf("ready\n");
  fflush(stdout);
  const absl::Duration duration = absl::GetFlag(FLAGS_duration);
  const absl::Time end = duration == absl::ZeroDuration()
                             ? absl::InfiniteFuture()
                             : MonotonicNow() + duration;
  while (!SteadyLoad::stopped() && MonotonicNow() < end) {
    load.Poll(std::min(absl::Milliseconds(10), end - MonotonicNow()));
  }
  load.WindDown();
  load.End();
  printf("%s\n", load.FormatJson().c_str());
  const std::string series = absl::GetFlag(FLAGS_latency_series);
  if (series.empty()) return 0;
  std::ofstream file(series);
  file << load.figures("kept").latency.Series();
  file.close();
  if (!file) fprintf(stderr, "cannot write %s\n", series.c_str());
  return file ? 0 : 1;
}

}  // namespace
}  // namespace handoff::load

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Clients in closed loops against any HTTP/1.1 server, and what they "
      "saw.");
  absl::ParseCommandLine(argc, argv);
  return handoff::load::Main();
}
