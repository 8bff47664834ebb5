#include "tests/process/token_ring.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"

namespace handoff::toy {

TokenRing::TokenRing(uint64_t tokens) : places_(1) {
  for (uint64_t i = 1; i <= tokens; ++i) {
    places_[0].tokens.emplace_back().set_id(i);
  }
}

void TokenRing::SetHandles(std::vector<GroupHandle*> handles) {
  const ToyTokens all = Save();
  std::lock_guard<std::mutex> lock(mu_);
  handles_ = std::move(handles);
  places_.assign(handles_.size(), Place());
  places_[0].receipts = all.receipts();
  for (int i = 0; i < all.tokens_size(); ++i) {
    places_[static_cast<size_t>(i) % places_.size()].tokens.push_back(
        all.tokens(i));
  }
}

void TokenRing::GoOn(size_t group) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    places_[group].rests = false;
  }
  SendOn(group);
}

void TokenRing::Rest(size_t group) {
  std::lock_guard<std::mutex> lock(mu_);
  places_[group].rests = true;
}

void TokenRing::Arrive(size_t group, ToyTokens::Token token) {
  size_t next = 0;
  {
    std::lock_guard<std::mutex> lock(mu_);
    Place& place = places_[group];
    token.set_hops(token.hops() + 1);
    ++place.receipts;
    const bool home = group == token.id() % places_.size();
    if (place.rests && home) {
      place.tokens.push_back(std::move(token));
      return;
    }
    // Each goes another way round, and with one group back to where it is; to
    // its home from one group to the next.
    next = (group + 1 + (place.rests ? 0 : token.id())) % places_.size();
  }
  Send(next, std::move(token));
}

void TokenRing::SendOn(size_t group) {
  std::vector<ToyTokens::Token> tokens;
  {
    std::lock_guard<std::mutex> lock(mu_);
    tokens.swap(places_[group].tokens);
  }
  for (ToyTokens::Token& token : tokens) {
    const size_t next = (group + 1 + token.id()) % handles_.size();
    Send(next, std::move(token));
  }
}

void TokenRing::Send(size_t group, ToyTokens::Token token) {
  handles_[group]->Post([this, group, token = std::move(token)]() mutable {
    Arrive(group, std::move(token));
  });
}

ToyTokens TokenRing::Save() const {
  std::lock_guard<std::mutex> lock(mu_);
  ToyTokens state;
  for (const Place& place : places_) {
    state.set_receipts(state.receipts() + place.receipts);
    for (const ToyTokens::Token& token : place.tokens) {
      *state.add_tokens() = token;
    }
  }
  return state;
}

void TokenRing::Restore(const ToyTokens& state) {
  std::lock_guard<std::mutex> lock(mu_);
  places_.assign(1, Place());
  places_[0].receipts = state.receipts();
  places_[0].tokens.assign(state.tokens().begin(), state.tokens().end());
}

std::string Summary(const ToyTokens& tokens) {
  std::set<uint64_t> ids;
  uint64_t hops = 0;
  for (const ToyTokens::Token& token : tokens.tokens()) {
    ids.insert(token.id());
    hops += token.hops();
  }
  return absl::StrCat(tokens.tokens_size(), " ", ids.size(), " ", hops, " ",
                      tokens.receipts());
}

}  // namespace handoff::toy
