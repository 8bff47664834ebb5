// The endpoint within this process.

#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/handoff.h"
#include "handoff/integrations/admin/admin_endpoint.h"
#include "tests/admin/admin_client.h"

namespace handoff::admin_tests {
namespace {

class Endpoint : public testing::Test {
 protected:
  void SetUp() override {
    Options options;
    options.path = folder_ / "h";
    options.state_types.push_back(AdminEndpoint::Type());
    auto started = Handoff::Start(std::move(options));
    ASSERT_TRUE(started.ok()) << started.status();
    handoff_ = *std::move(started);
    AdminOptions admin;
    admin.address = Address();
    auto made = AdminEndpoint::Create(*handoff_, admin);
    ASSERT_TRUE(made.ok()) << made.status();
    admin_ = *std::move(made);
    const absl::Status ready = handoff_->Ready();
    ASSERT_TRUE(ready.ok()) << ready;
  }
  std::string Address() const { return absl::StrCat("unix:", folder_ / "a"); }

  const TempFolder folder_;
  std::unique_ptr<AdminEndpoint> admin_;
  std::unique_ptr<Handoff> handoff_;
};

// Its log is gone then, which the endpoint must not touch.
TEST_F(Endpoint, OutlivesTheHandoffAlsoWhereItNeverServed) {
  handoff_->Stop();
  handoff_.reset();
  admin_.reset();
}

TEST_F(Endpoint, OutlivesTheHandoffAfterItHasServed) {
  ASSERT_TRUE(admin_->Serve().ok());
  {
    AdminClient client(Address());
    EXPECT_EQ(client.Status().pid(), ::getpid());
  }
  handoff_->Stop();
  ASSERT_TRUE(handoff_->Wait().ok());
  admin_->Stop();
  handoff_.reset();
  admin_.reset();
}

TEST_F(Endpoint, ServesAlsoWhereTheModeOfItsSocketCannotBeSet) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be somebody else";
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0711), 0);
  ASSERT_EQ(::seteuid(54321), 0);  // whose the socket is not
  const absl::Status served = admin_->Serve();
  ASSERT_EQ(::seteuid(0), 0);
  EXPECT_TRUE(absl::IsPermissionDenied(served)) << served;
  {
    AdminClient client(Address());
    EXPECT_EQ(client.Status().pid(), ::getpid());
  }
  handoff_->Stop();
  ASSERT_TRUE(handoff_->Wait().ok());
  admin_->Stop();
}

}  // namespace
}  // namespace handoff::admin_tests
