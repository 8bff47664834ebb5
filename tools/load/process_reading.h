#ifndef HANDOFF_TOOLS_LOAD_PROCESS_READING_H_
#define HANDOFF_TOOLS_LOAD_PROCESS_READING_H_

#include <sys/types.h>

#include <cstdint>

namespace handoff::load {

// What a process has, by proc(5).
struct Reading {
  uint64_t descriptors = 0;
  uint64_t memory_kib = 0;  // VmRSS
  uint64_t threads = 0;
};

// All 0 where there is no such process.
Reading ReadProcess(pid_t pid);

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_PROCESS_READING_H_
