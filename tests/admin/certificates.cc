#include "tests/admin/certificates.h"

#include <stdio.h>
#include <stdlib.h>

#include <fstream>
#include <sstream>

namespace handoff::admin_tests {
namespace {

constexpr char kScript[] = R"(
set -e
cd "$0"
exec >/dev/null 2>&1
key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
for root in authority other; do
  openssl req -x509 $key -days 2 -subj "/CN=$root" \
    -keyout $root.key -out $root.pem
done
sign() {
  openssl req $key -subj "/CN=$3" -keyout $1.key -out $1.csr
  echo "$4" > $1.ext
  openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -CAcreateserial \
    -days 2 -extfile $1.ext -out $1.pem
}
sign server authority server subjectAltName=IP:127.0.0.1
sign operator authority operator
sign reader authority operator subjectAltName=DNS:reader.example
sign nobody authority nobody
sign stranger other operator
)";

}  // namespace

Certificates::Certificates() {
  const std::string command =
      std::string("sh -c '") + kScript + "' " + folder_.path();
  if (system(command.c_str()) != 0) {
    fputs("openssl could not make certificates\n", stderr);
    abort();
  }
}

AdminTls Certificates::server() const {
  return {folder_ / "server.pem", folder_ / "server.key",
          folder_ / "authority.pem"};
}

std::shared_ptr<::grpc::ChannelCredentials> Certificates::Client(
    const std::string& client) const {
  ::grpc::SslCredentialsOptions options;
  options.pem_root_certs = Read("authority.pem");
  if (!client.empty()) {
    options.pem_cert_chain = Read(client + ".pem");
    options.pem_private_key = Read(client + ".key");
  }
  return ::grpc::SslCredentials(options);
}

std::string Certificates::Read(const std::string& name) const {
  std::stringstream text;
  text << std::ifstream(folder_ / name).rdbuf();
  return text.str();
}

}  // namespace handoff::admin_tests
