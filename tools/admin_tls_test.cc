// Runs the command itself against an admin endpoint over TCP.

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/integrations/grpc/test_certificates.h"
#include "tools/fake_admin_server.h"
#include "tools/run_command.h"

namespace handoff {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<grpc::ServerCredentials> MutualTls(
    const TestCertificates& certificates) {
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = certificates.authority;
  options.pem_key_cert_pairs.push_back(
      {certificates.server.key, certificates.server.certificate});
  return grpc::SslServerCredentials(options);
}

class AdminTlsTest : public ::testing::Test {
 protected:
  AdminTlsTest() : server_("127.0.0.1:0", MutualTls(certificates_)) {}

  std::string File(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }

  CommandResult Status(const std::string& ca,
                       const TestCertificates::Identity& identity) {
    return RunCommand({"status", "--timeout=30s",
                       "--admin=" + server_.address(),
                       "--admin_ca=" + File("ca", ca),
                       "--admin_cert=" + File("cert", identity.certificate),
                       "--admin_key=" + File("key", identity.key)});
  }

  TempFolder folder_;
  TestCertificates certificates_ = MakeTestCertificates();
  FakeAdminServer server_;
};

TEST_F(AdminTlsTest, WhoeverHasTheRightCertificateIsAnswered) {
  const CommandResult result =
      Status(certificates_.authority, certificates_.client);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("4821"));
  const std::vector<std::string> variables = {
      "HANDOFF_ADMIN=" + server_.address(),
      "HANDOFF_ADMIN_CA=" + folder_ / "ca",
      "HANDOFF_ADMIN_CERT=" + folder_ / "cert",
      "HANDOFF_ADMIN_KEY=" + folder_ / "key"};
  EXPECT_EQ(RunCommand({"status"}, -1, variables).exit_code, 0);
}

TEST_F(AdminTlsTest, AnyOtherIsNot) {
  ExpectFailure(Status(certificates_.authority, certificates_.stranger), 3,
                "that it lets you in");
  // The authority that the server's certificate would have to be of.
  ExpectFailure(
      Status(certificates_.stranger.certificate, certificates_.client), 3,
      "that this is its admin endpoint");
  ExpectFailure(RunCommand({"status", "--admin=" + server_.address(),
                            "--admin_insecure_plaintext_tcp"}),
                3, "that this is its admin endpoint");
}

TEST_F(AdminTlsTest, FilesThatCannotBeReadAreNamed) {
  ExpectFailure(
      RunCommand({"status", "--admin=" + server_.address(), "--admin_ca=/x/ca",
                  "--admin_cert=/x/cert", "--admin_key=/x/key"}),
      1, "cannot read /x/ca: No such file");
  ExpectFailure(
      RunCommand({"status", "--admin=" + server_.address(), "--admin_ca=/",
                  "--admin_cert=/x/cert", "--admin_key=/x/key"}),
      1, "cannot read /: Is a directory");
}

TEST_F(AdminTlsTest, FilesThatAreNoneOfTlsOrDoNotBelongTogetherAreSaidToBe) {
  TestCertificates::Identity mixed = certificates_.client;
  mixed.key = certificates_.server.key;
  ExpectFailure(Status(certificates_.authority, mixed), 1,
                "that the key is the certificate's");
  mixed.key = "no key";
  ExpectFailure(Status(certificates_.authority, mixed), 1, "are in PEM");
}

TEST(AdminInsecureTest, TcpWithoutTlsIsAnsweredWhereItIsAskedForByName) {
  FakeAdminServer server("127.0.0.1:0");
  EXPECT_EQ(RunCommand({"status", "--admin=" + server.address(),
                        "--admin_insecure_plaintext_tcp"})
                .exit_code,
            0);
  ExpectFailure(RunCommand({"status", "--admin=" + server.address()}), 2,
                "--admin_insecure_plaintext_tcp");
}

}  // namespace
}  // namespace handoff
