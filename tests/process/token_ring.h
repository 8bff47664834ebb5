#ifndef TESTS_PROCESS_TOKEN_RING_H_
#define TESTS_PROCESS_TOKEN_RING_H_

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "handoff/group.h"
#include "tests/process/toy.pb.h"

namespace handoff::toy {

// Tokens that the groups of a service post to each other without end: in every
// cut some would be under way, if a handoff did not wait for them.
//
// Each hop is counted twice, in the token and by the group that it reaches. When
// the groups are quiesced each token goes on from one to the next until it is in
// the one that is its home: work that is already posted posts some more. So in a
// cut each token is in one group, and the hops of all tokens are as many as the
// groups have counted.
// Thread-safe.
class TokenRing {
 public:
  // On a fresh start there are `tokens`, numbered from 1.
  explicit TokenRing(uint64_t tokens);

  // Before the groups run: one handle for each, borrowed.
  void SetHandles(std::vector<GroupHandle*> handles);

  // On the group's loop: sends on what it has, and what will reach it.
  void GoOn(size_t group);
  // The same: keeps what is at home there from now on.
  void Rest(size_t group);

  // The state. When all groups rest and nothing is under way, all of it.
  ToyTokens Save() const;
  void Restore(const ToyTokens& state);

 private:
  struct Place {
    bool rests = true;
    uint64_t receipts = 0;
    std::vector<ToyTokens::Token> tokens;
  };

  void Arrive(size_t group, ToyTokens::Token token);
  void SendOn(size_t group);
  void Send(size_t group, ToyTokens::Token token);

  mutable std::mutex mu_;
  std::vector<GroupHandle*> handles_;
  std::vector<Place> places_;
};

// "COUNT DISTINCT HOPS RECEIPTS".
std::string Summary(const ToyTokens& tokens);

}  // namespace handoff::toy

#endif  // TESTS_PROCESS_TOKEN_RING_H_
