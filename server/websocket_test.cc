// WebSocket's frames and its handshake, over bytes.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "server/websocket_client_frames.h"
#include "server/websocket_frame.h"
#include "server/websocket_handshake.h"
#include "server/websocket_reader.h"

namespace handoff::server {
namespace {

constexpr size_t kMost = 200'000;

std::string ResultOf(WebSocketReader& reader, WebSocketReader::Result result) {
  switch (result) {
    case WebSocketReader::Result::kMore:
      return "more";
    case WebSocketReader::Result::kText:
      return absl::StrCat("text ", reader.payload());
    case WebSocketReader::Result::kPing:
      return absl::StrCat("ping ", reader.payload());
    case WebSocketReader::Result::kPong:
      return absl::StrCat("pong ", reader.payload());
    case WebSocketReader::Result::kClose:
      return absl::StrCat("close ", reader.payload().size());
    case WebSocketReader::Result::kFail:
      return absl::StrCat("fail ", static_cast<int>(reader.close_code()));
  }
  return "";
}

// Everything that `bytes` say, up to a failure.
std::string ReadAll(WebSocketReader& reader, absl::string_view bytes) {
  std::vector<std::string> results;
  reader.Append(bytes);
  while (reader.has_unread()) {
    const WebSocketReader::Result result = reader.Next();
    if (result == WebSocketReader::Result::kMore) continue;
    results.push_back(ResultOf(reader, result));
    if (result == WebSocketReader::Result::kFail) break;
  }
  return absl::StrJoin(results, ", ");
}

// The same, as the first of these and as its pieces of one byte.
std::string ReadBothWays(const std::string& bytes) {
  WebSocketReader whole(kMost);
  const std::string at_once = ReadAll(whole, bytes);
  WebSocketReader pieces(kMost);
  std::vector<std::string> results;
  for (const char& byte : bytes) {
    const std::string result = ReadAll(pieces, absl::string_view(&byte, 1));
    if (!result.empty()) results.push_back(result);
    if (result.substr(0, 4) == "fail") break;
  }
  EXPECT_EQ(absl::StrJoin(results, ", "), at_once) << "byte by byte";
  return at_once;
}

TEST(WebSocketReaderTest, ReadsMessagesOfEveryLength) {
  for (size_t size :
       {0u, 1u, 125u, 126u, 127u, 4095u, 4096u, 65535u, 65536u, 100'000u}) {
    const std::string text(size, 'x');
    WebSocketReader reader(kMost);
    EXPECT_EQ(ReadAll(reader, Frame(kText, text) + Frame(kText, "next")),
              absl::StrCat("text ", text, ", text next"))
        << size;
    EXPECT_EQ(reader.input(), "") << size;
  }
}

TEST(WebSocketReaderTest, PutsFragmentsTogetherAroundControlFrames) {
  EXPECT_EQ(ReadBothWays(Frame(kText, "one ", false) + Frame(kPing, "p") +
                         Frame(kContinuation, "", false) +
                         Frame(kContinuation, "two ", false) +
                         Frame(kPong, "") + Frame(kContinuation, "three")),
            "ping p, pong , text one two three");
  // A character in two frames.
  EXPECT_EQ(
      ReadBothWays(Frame(kText, "\xc3", false) + Frame(kContinuation, "\xa4")),
      "text \xc3\xa4");
}

struct Fault {
  const char* name;
  std::string bytes;
  int code;
};

std::vector<Fault> Faults() {
  const auto frame = [](uint8_t opcode, absl::string_view payload,
                        auto change) {
    ClientFrame f;
    f.opcode = opcode;
    f.payload = std::string(payload);
    change(f);
    return f.Bytes();
  };
  using F = ClientFrame&;
  std::vector<Fault> faults = {
      {"Rsv1OfText", frame(kText, "x", [](F f) { f.reserved = 4; }), 1002},
      {"Rsv2OfText", frame(kText, "x", [](F f) { f.reserved = 2; }), 1002},
      {"Rsv3OfPing", frame(kPing, "", [](F f) { f.reserved = 1; }), 1002},
      {"UnmaskedText", frame(kText, "x", [](F f) { f.masked = false; }), 1002},
      {"UnmaskedPing", frame(kPing, "", [](F f) { f.masked = false; }), 1002},
      {"PingOf126Bytes", Frame(kPing, std::string(126, 'x')), 1002},
      {"CloseOf126Bytes", CloseFrame(1000, std::string(124, 'x')), 1002},
      {"FragmentedPing", Frame(kPing, "x", false), 1002},
      {"FragmentedClose", Frame(kClose, "", false), 1002},
      {"ContinuationOfNothing", Frame(kContinuation, "x"), 1002},
      {"ContinuationAfterTheEnd", Frame(kText, "x") + Frame(kContinuation, "y"),
       1002},
      {"TextWithinAMessage", Frame(kText, "x", false) + Frame(kText, "y"),
       1002},
      {"LengthOfTwoBytesForOne",
       frame(kText, "x", [](F f) { f.length_bytes = 2; }), 1002},
      {"LengthOfEightBytesForTwo",
       frame(kText, std::string(300, 'x'), [](F f) { f.length_bytes = 8; }),
       1002},
      {"LengthWithItsHighestBit",
       std::string("\x81\xff\x80\0\0\0\0\0\0\0mask", 14), 1002},
      {"Binary", Frame(kBinary, "x"), 1003},
      {"InvalidUtf8", Frame(kText, "\xc3\x28"), 1007},
      {"Surrogate", Frame(kText, "\xed\xa0\x80"), 1007},
      {"OverlongUtf8", Frame(kText, "\xc0\xaf"), 1007},
      {"BeyondUnicode", Frame(kText, "\xf4\x90\x80\x80"), 1007},
      {"HalfACharacter", Frame(kText, "x\xc3"), 1007},
      {"InvalidUtf8InFragments",
       Frame(kText, "\xc3", false) + Frame(kContinuation, "\x28"), 1007},
      {"MessageTooLong", Frame(kText, std::string(kMost + 1, 'x')), 1009},
      {"FragmentsTooLong",
       Frame(kText, std::string(kMost, 'x'), false) + Frame(kContinuation, "x"),
       1009},
      {"HalfACloseCode", Frame(kClose, "\x03"), 1002},
      {"CloseReasonIsNoUtf8", CloseFrame(1000, "\xff"), 1007},
  };
  for (const uint8_t opcode : {3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf}) {
    faults.push_back({"UnknownOpcode", Frame(opcode, "x"), 1002});
    faults.push_back({"UnknownOpcodeWithoutPayload", Frame(opcode, ""), 1002});
  }
  for (const uint16_t code :
       {0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535}) {
    faults.push_back({"CloseCodeThatNobodySends", CloseFrame(code), 1002});
  }
  return faults;
}

TEST(WebSocketReaderTest, FaultsHaveTheCodeThatTheRfcNames) {
  for (const Fault& fault : Faults()) {
    const std::string result = ReadBothWays(fault.bytes);
    const std::string failed = absl::StrCat("fail ", fault.code);
    // Behind what came before it.
    ASSERT_GE(result.size(), failed.size()) << fault.name;
    EXPECT_EQ(result.substr(result.size() - failed.size()), failed)
        << fault.name << ": " << result;
  }
}

TEST(WebSocketReaderTest, CloseCodesThatMayBeSentAreTaken) {
  EXPECT_EQ(ReadBothWays(Frame(kClose, "")), "close 0");
  for (const uint16_t code : {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010,
                              1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}) {
    EXPECT_EQ(ReadBothWays(CloseFrame(code, "ok \xc3\xa4")), "close 7") << code;
  }
}

TEST(WebSocketReaderTest, GoesOnInAnotherReaderFromEveryByte) {
  const std::string bytes =
      Frame(kText, "whole") + Frame(kText, "one ", false) +
      Frame(kPing, "between") + Frame(kContinuation, std::string(300, 'y')) +
      Frame(kText, std::string(70'000, 'z')) + CloseFrame(1000, "bye");
  WebSocketReader reference(kMost);
  const std::string expected = ReadAll(reference, bytes);
  std::vector<size_t> cuts;
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    // Every byte, but within a long run of one letter.
    if (cut < 400 || cut % 997 == 0 || cut + 20 > bytes.size()) {
      cuts.push_back(cut);
    }
  }
  for (const size_t cut : cuts) {
    WebSocketReader before(kMost);
    std::string got = ReadAll(before, bytes.substr(0, cut));
    WebSocketReader after(kMost);
    ASSERT_TRUE(
        after.Restore(before.in_message(), before.fragments(), before.input())
            .ok());
    const std::string rest = ReadAll(after, bytes.substr(cut));
    if (!got.empty() && !rest.empty()) got += ", ";
    ASSERT_EQ(got + rest, expected) << "cut after " << cut << " bytes";
  }
}

TEST(WebSocketReaderTest, WhatMovesIsBoundedHoweverAMessageIsCut) {
  WebSocketReader reader(kMost);
  EXPECT_EQ(ReadAll(reader, Frame(kText, "", false)), "");
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(ReadAll(reader, Frame(kContinuation, "", false)), "");
  }
  EXPECT_TRUE(reader.in_message());
  EXPECT_EQ(reader.input(), "");
  EXPECT_EQ(reader.fragments(), "");
}

TEST(WebSocketReaderTest, AStateThatNoReaderHasIsRefused) {
  WebSocketReader reader(10);
  EXPECT_TRUE(absl::IsInvalidArgument(reader.Restore(false, "x", "")));
  EXPECT_TRUE(absl::IsInvalidArgument(reader.Restore(true, "01234567890", "")));
}

TEST(WebSocketFrameTest, AServersFramesAreFinalAndUnmasked) {
  std::string bytes;
  AppendTextFrame("hello", &bytes);
  EXPECT_EQ(bytes, "\x81\x05hello");
  for (const size_t size : {0u, 125u, 126u, 65535u, 65536u}) {
    AppendTextFrame(std::string(size, 'x'), &bytes);
    EXPECT_EQ(ServerFrames(bytes).back(),
              absl::StrCat("text ", std::string(size, 'x')));
  }
  bytes.clear();
  AppendPingFrame(&bytes);
  AppendPongFrame("p", &bytes);
  AppendCloseFrame(CloseCode::kGoingAway, "bye", &bytes);
  AppendCloseFrame("", &bytes);
  EXPECT_EQ(absl::StrJoin(ServerFrames(bytes), ", "),
            "ping , pong p, close 1001 bye, close");
}

Request Asks() {
  Request request;
  request.upgrades_to_websocket = true;
  request.websocket_key = "dGhlIHNhbXBsZSBub25jZQ==";
  request.websocket_version = "13";
  request.host = "server.example.com";
  return request;
}

TEST(WebSocketHandshakeTest, AcceptsAsTheRfcsExample) {
  const Handshake answer = CheckHandshake(Asks());
  EXPECT_EQ(answer.status, 101) << answer.problem;
  EXPECT_EQ(answer.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(WebSocketHandshakeTest, AKeyIsSixteenBytes) {
  for (const char* key :
       {"", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZTE=",
        "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==",
        "????????????????????????", "dGhlIHNhbXBsZSBub25jZQ="}) {
    Request request = Asks();
    request.websocket_key = key;
    EXPECT_EQ(CheckHandshake(request).status, 400) << key;
  }
}

TEST(WebSocketHandshakeTest, OtherProtocolsAndVersionsAreToldWhatIsSpoken) {
  Request request = Asks();
  request.websocket_version = "8";
  EXPECT_EQ(CheckHandshake(request).status, 426);
  request = Asks();
  request.upgrades_to_websocket = false;
  EXPECT_EQ(CheckHandshake(request).status, 426);
}

TEST(WebSocketHandshakeTest, OnlyPagesOfTheSameHostMayCome) {
  const struct {
    const char* origin;
    int status;
  } cases[] = {
      {"", 101},
      {"http://server.example.com", 101},
      {"https://SERVER.example.com", 101},
      {"https://server.example.com:8080", 403},
      {"https://evil.example.com", 403},
      {"https://evil.example.com/server.example.com", 403},
      {"null", 403},
  };
  for (const auto& c : cases) {
    Request request = Asks();
    request.origin = c.origin;
    EXPECT_EQ(CheckHandshake(request).status, c.status) << c.origin;
  }
}

}  // namespace
}  // namespace handoff::server
