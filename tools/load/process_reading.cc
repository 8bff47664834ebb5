#include "tools/load/process_reading.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace handoff::load {

Reading ReadProcess(pid_t pid) {
  Reading reading;
  const std::string folder = absl::StrCat("/proc/", pid);
  std::error_code error;
  std::filesystem::directory_iterator end;
  for (std::filesystem::directory_iterator it(folder + "/fd", error);
       !error && it != end; it.increment(error)) {
    ++reading.descriptors;
  }
  std::ifstream status(folder + "/status");
  std::string word;
  while (status >> word) {
    if (word == "VmRSS:") status >> reading.memory_kib;
    if (word == "Threads:") status >> reading.threads;
  }
  return reading;
}

}  // namespace handoff::load
