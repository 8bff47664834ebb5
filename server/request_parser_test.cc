#include "server/request_parser.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace handoff::server {
namespace {

// What a parser has made of its input, in one line for each request.
class Transcript {
 public:
  explicit Transcript(const ConnectionLimits& limits)
      : limits_(limits), parser_(std::make_unique<RequestParser>(limits)) {}

  void Feed(absl::string_view bytes) {
    while (!bytes.empty() && !failed_) {
      size_t used = 0;
      const RequestParser::Result result = parser_->Parse(
          bytes,
          [this](absl::string_view piece) {
            absl::StrAppend(&body_, piece);
            return 0;
          },
          &used);
      bytes.remove_prefix(used);
      switch (result) {
        case RequestParser::Result::kMore:
          EXPECT_TRUE(bytes.empty());
          break;
        case RequestParser::Result::kHeaders:
          EXPECT_FALSE(bytes.empty());
          break;
        case RequestParser::Result::kRequest:
          EndRequest();
          break;
        case RequestParser::Result::kError:
          absl::StrAppend(&text_, "error ", parser_->error_status(), "\n");
          failed_ = true;
          break;
      }
    }
  }

  // As a handoff does: through bytes, into a parser that knows nothing.
  void MoveToAnotherParser() {
    if (failed_) return;
    auto next = std::make_unique<RequestParser>(limits_);
    if (parser_->begun()) {
      v1::Parser state;
      parser_->Save(&state);
      v1::Parser arrived;
      ASSERT_TRUE(arrived.ParseFromString(state.SerializeAsString()));
      const absl::Status restored = next->Restore(arrived);
      ASSERT_TRUE(restored.ok()) << restored;
    }
    parser_ = std::move(next);
  }

  std::string Text() const {
    return parser_->begun() && !failed_ ? absl::StrCat(text_, "unfinished\n")
                                        : text_;
  }

 private:
  void EndRequest() {
    const Request& r = parser_->request();
    absl::StrAppend(&text_, http_method_str(r.method), " ", r.target, " 1.",
                    r.http_minor, r.keep_alive ? " keep" : " close",
                    r.expects_continue ? " expects" : "",
                    r.has_body ? " body" : "", " '", body_, "'\n");
    body_.clear();
    parser_->Reset();
  }

  const ConnectionLimits& limits_;
  std::unique_ptr<RequestParser> parser_;
  std::string body_;
  std::string text_;
  bool failed_ = false;
};

struct Case {
  std::string name;
  std::string bytes;
  std::string expected;
};

const std::vector<Case>& Cases() {
  static const auto* cases = new std::vector<Case>{
      {"PlainGet", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
       "GET /healthz 1.1 keep ''\n"},
      {"BlankLinesBefore", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
       "GET / 1.1 keep ''\n"},
      {"BareLineFeeds", "GET / HTTP/1.1\nHost: a\n\n", "GET / 1.1 keep ''\n"},
      {"Close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
       "GET / 1.1 close ''\n"},
      {"Http10", "GET / HTTP/1.0\r\n\r\n", "GET / 1.0 close ''\n"},
      {"Http10KeepAlive", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
       "GET / 1.0 keep ''\n"},
      {"SizedBody",
       "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n"
       "hello\r\nbody",
       "POST /echo 1.1 keep body 'hello\r\nbody'\n"},
      {"EmptyBody",
       "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
       "POST /echo 1.1 keep ''\n"},
      {"ChunkedWithExtensionsAndTrailers",
       "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
       "5;name=value\r\nhello\r\n0010\r\n0123456789abcdef\r\n0\r\n"
       "Host: trailer\r\nConnection: close\r\nExpect: nothing\r\n\r\n",
       "POST /echo 1.1 keep body 'hello0123456789abcdef'\n"},
      {"Expect",
       "POST /echo HTTP/1.1\r\nHost: a\r\nEXPECT:  100-Continue \r\n"
       "Content-Length: 2\r\n\r\nab",
       "POST /echo 1.1 keep expects body 'ab'\n"},
      {"ExpectOfHttp10IsIgnored",
       "POST /echo HTTP/1.0\r\nExpect: 100-continue\r\n"
       "Content-Length: 2\r\n\r\nab",
       "POST /echo 1.0 close body 'ab'\n"},
      {"UpgradeIsIgnored",
       "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
       "\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
       "GET / 1.1 keep ''\nGET /2 1.1 keep ''\n"},
      {"ConnectIsAMethodLikeOthers",
       "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"
       "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
       "CONNECT a:80 1.1 keep ''\nGET /2 1.1 keep ''\n"},
      {"Pipelined",
       "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
       "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
       "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
       "1\r\nx\r\n0\r\n\r\n"
       "HEAD /4 HTTP/1.1\r\nHost: a\r\n\r\nGET /5 HT",
       "GET /1 1.1 keep ''\nPOST /2 1.1 keep body 'abc'\n"
       "POST /3 1.1 keep body 'x'\nHEAD /4 1.1 keep ''\nunfinished\n"},
      {"LongNamesAndValues",
       absl::StrCat("GET / HTTP/1.1\r\nHostess-", std::string(50, 'x'), ": ",
                    std::string(200, 'y'), "\r\nEmpty:\r\nHost:\r\n\r\n"),
       "GET / 1.1 keep ''\n"},
      {"FoldedValue",
       "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-\r\n continue\r\n\r\n",
       "error 417\n"},
      {"NoHost", "GET / HTTP/1.1\r\nAccept: */*\r\n\r\n", "error 400\n"},
      {"TwoHosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
       "error 400\n"},
      {"UnknownExpectation",
       "GET / HTTP/1.1\r\nHost: a\r\nExpect: a miracle\r\n\r\n", "error 417\n"},
      {"Garbage", "\x16\x03\x01\x02", "error 400\n"},
      {"UnknownMethod", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", "error 400\n"},
      {"Http2Preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "error 400\n"},
      {"AnotherVersion", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "error 505\n"},
      {"BadLength", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\n",
       "error 400\n"},
      {"TwoLengths",
       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
       "Content-Length: 2\r\n\r\n",
       "error 400\n"},
      {"LengthAndChunked",
       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
       "Transfer-Encoding: chunked\r\n\r\n",
       "error 400\n"},
      {"OtherEncoding",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nx",
       "error 400\n"},
      {"BadChunkSize",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
       "error 400\n"},
      {"BodyTooLarge",
       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n",
       "error 413\n"},
      {"ChunkedBodyTooLarge",
       absl::StrCat(
           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
           "33\r\n",
           std::string(51, 'a'), "\r\n32\r\n", std::string(50, 'b'), "\r\n"),
       "error 413\n"},
      {"TargetTooLong",
       absl::StrCat("GET /", std::string(500, 'x'), " HTTP/1.1\r\n"),
       "error 431\n"},
      {"HeaderTooLarge",
       absl::StrCat("GET / HTTP/1.1\r\nA: ", std::string(300, 'x'),
                    "\r\nB: ", std::string(300, 'y'), "\r\n"),
       "error 431\n"},
      {"TrailerTooLarge",
       absl::StrCat(
           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
           "0\r\nA: ",
           std::string(500, 'x'), "\r\n\r\n"),
       "error 431\n"},
  };
  return *cases;
}

ConnectionLimits SmallLimits() {
  ConnectionLimits limits;
  limits.max_header_bytes = 450;
  limits.max_body_bytes = 100;
  return limits;
}

class RequestParserTest : public testing::TestWithParam<Case> {};

TEST_P(RequestParserTest, ParsesWhatComesInOnePiece) {
  const ConnectionLimits limits = SmallLimits();
  Transcript transcript(limits);
  transcript.Feed(GetParam().bytes);
  EXPECT_EQ(transcript.Text(), GetParam().expected);
}

TEST_P(RequestParserTest, GoesOnInAnotherParserFromEveryByte) {
  const ConnectionLimits limits = SmallLimits();
  const std::string& bytes = GetParam().bytes;
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    Transcript transcript(limits);
    transcript.Feed(bytes.substr(0, cut));
    transcript.MoveToAnotherParser();
    transcript.Feed(bytes.substr(cut));
    ASSERT_EQ(transcript.Text(), GetParam().expected)
        << "cut after " << cut << " bytes";
  }
}

TEST_P(RequestParserTest, GoesOnInAnotherParserAfterEveryByte) {
  const ConnectionLimits limits = SmallLimits();
  Transcript transcript(limits);
  for (const char byte : GetParam().bytes) {
    transcript.Feed(absl::string_view(&byte, 1));
    transcript.MoveToAnotherParser();
  }
  EXPECT_EQ(transcript.Text(), GetParam().expected);
}

INSTANTIATE_TEST_SUITE_P(Requests, RequestParserTest,
                         testing::ValuesIn(Cases()),
                         [](const testing::TestParamInfo<Case>& info) {
                           return info.param.name;
                         });

// A parser in the middle of a request, as it is sent.
v1::Parser HalfARequest() {
  static const ConnectionLimits limits;
  RequestParser parser(limits);
  size_t used = 0;
  parser.Parse(
      "GET /heal", [](absl::string_view) { return 0; }, &used);
  v1::Parser state;
  parser.Save(&state);
  return state;
}

TEST(RequestParserRestoreTest, RefusesTheStateOfAnotherVersionOfTheLibrary) {
  v1::Parser state = HalfARequest();
  state.set_library_version(0x030102);
  const ConnectionLimits limits;
  RequestParser parser(limits);
  const absl::Status status = parser.Restore(state);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_NE(status.message().find("http-parser 3.1.2"), absl::string_view::npos)
      << status;
}

TEST(RequestParserRestoreTest, RefusesNumbersThatNoParserHas) {
  const ConnectionLimits limits;
  for (int field = 0; field < 4; ++field) {
    v1::Parser state = HalfARequest();
    if (field == 0) state.set_state(1 << 7);
    if (field == 1) state.set_index(1 << 5);
    if (field == 2) state.set_method(1 << 8);
    if (field == 3) state.set_http_major(1 << 16);
    RequestParser parser(limits);
    EXPECT_TRUE(absl::IsInvalidArgument(parser.Restore(state)))
        << "field " << field;
  }
}

}  // namespace
}  // namespace handoff::server
