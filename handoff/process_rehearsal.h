#ifndef HANDOFF_PROCESS_REHEARSAL_H_
#define HANDOFF_PROCESS_REHEARSAL_H_

#include <map>
#include <string>
#include <utility>

#include "handoff/fd/unique_fd.h"
#include "proto/handoff.pb.h"

namespace handoff {

// Of a Process that only rehearses.
struct ProcessRehearsal {
  UniqueFd report_to;  // invalid where nobody waits for the report
  v1::LedgerHandoff report;
  // Calls of the service that failed, by category and name.
  std::map<std::pair<std::string, std::string>, std::string> failed;
  bool ended = false;
};

}  // namespace handoff

#endif  // HANDOFF_PROCESS_REHEARSAL_H_
