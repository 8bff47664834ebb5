// Boost 1.74 uses std::exchange here, in C++20 only, without the header that
// declares it.
#include <utility>
// This line keeps the two apart: sorted, they would be the wrong way round.
#include_next <boost/asio/awaitable.hpp>
