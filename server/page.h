#ifndef HANDOFF_SERVER_PAGE_H_
#define HANDOFF_SERVER_PAGE_H_

#include "absl/strings/string_view.h"

namespace handoff::server {

// What GET / answers: page.html.
inline constexpr absl::string_view kPage =
#include "server/page_literal.inc"
    ;

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_PAGE_H_
