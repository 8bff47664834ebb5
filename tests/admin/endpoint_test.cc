// The endpoint within this process.

#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/handoff.h"
#include "handoff/integrations/admin/admin_endpoint.h"
#include "handoff/transport/listen.h"
#include "tests/admin/admin_client.h"

namespace handoff::admin_tests {
namespace {

class Endpoint : public testing::Test {
 protected:
  void SetUp() override {
    Options options;
    options.path = folder_ / "h";
    options.state_types.push_back(AdminEndpoint::Type());
    options.given = std::move(given_);
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
  std::vector<GivenDescriptor> given_;
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

// Its listener was given, and listens elsewhere.
class EndpointElsewhere : public Endpoint {
 protected:
  void SetUp() override {
    somebody_ = *BindListener(Address());
    auto given = BindListener(absl::StrCat("unix:", folder_ / "given"));
    ASSERT_TRUE(given.ok()) << given.status();
    given_.push_back({"admin", std::make_shared<UniqueFd>(*std::move(given))});
    Endpoint::SetUp();
  }
  UniqueFd somebody_;
};

TEST_F(EndpointElsewhere, TheModeOfSomebodyElsesSocketIsLeftAlone) {
  ASSERT_EQ(::chmod((folder_ / "a").c_str(), 0640), 0);
  ASSERT_TRUE(admin_->Serve().ok());
  struct stat status;
  ASSERT_EQ(::stat((folder_ / "a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
  AdminClient client(absl::StrCat("unix:", folder_ / "given"));
  EXPECT_EQ(client.Status().pid(), ::getpid());
  std::string listens;
  for (const v1::InventoryItem& item : handoff_->control().GetInventory()) {
    if (item.name() == "admin" && item.category() == "listener") {
      listens = item.descriptors(0).local_address();
    }
  }
  EXPECT_NE(listens.find("given"), std::string::npos)
      << "it listens at " << listens;
  handoff_->Stop();
  ASSERT_TRUE(handoff_->Wait().ok());
  admin_->Stop();
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
