#ifndef TESTS_ADMIN_CERTIFICATES_H_
#define TESTS_ADMIN_CERTIFICATES_H_

#include <memory>
#include <string>

#include "grpcpp/security/credentials.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/integrations/admin/admin_options.h"

namespace handoff::admin_tests {

// An authority and what it has signed, made by the openssl command at the time
// of the test: a server at 127.0.0.1; the clients "operator" (in its common
// name), "reader.example" (an alternative name, under the common name
// "operator", which then does not count) and "nobody" (a name with no role).
// And "stranger", a client called "operator" by an authority of its own.
class Certificates {
 public:
  // Ends the process where openssl fails.
  Certificates();

  AdminTls server() const;
  // `client`: as above; empty: without a certificate.
  std::shared_ptr<::grpc::ChannelCredentials> Client(
      const std::string& client) const;

 private:
  std::string Read(const std::string& name) const;

  TempFolder folder_;
};

}  // namespace handoff::admin_tests

#endif  // TESTS_ADMIN_CERTIFICATES_H_
