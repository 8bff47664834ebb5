#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/any.pb.h"
#include "gtest/gtest.h"

namespace {

TEST(ConsumerTest, LinksTheDependenciesOfHandoff) {
  google::protobuf::Any any;
  any.set_type_url("type.googleapis.com/google.protobuf.Any");
  const absl::StatusOr<std::string> copy = any.SerializeAsString();
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_TRUE(any.ParseFromString(*copy));
}

}  // namespace
