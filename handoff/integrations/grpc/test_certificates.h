#ifndef HANDOFF_INTEGRATIONS_GRPC_TEST_CERTIFICATES_H_
#define HANDOFF_INTEGRATIONS_GRPC_TEST_CERTIFICATES_H_

#include <string>

namespace handoff {

// For tests: keys and certificates in PEM, made by the openssl command at the
// time of the test, so none of them expires. All are for 127.0.0.1 and
// localhost.
struct TestCertificates {
  struct Identity {
    std::string key;
    std::string certificate;
  };
  std::string authority;  // its certificate
  Identity server;
  Identity client;
  // Its own authority, which nobody knows.
  Identity stranger;
};

// Ends the process where openssl fails.
TestCertificates MakeTestCertificates();

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_GRPC_TEST_CERTIFICATES_H_
