#include "handoff/integrations/grpc/test_certificates.h"

#include <stdio.h>
#include <stdlib.h>

#include <fstream>
#include <sstream>

#include "handoff/fd/temp_folder.h"

namespace handoff {
namespace {

constexpr char kScript[] = R"(
set -e
cd "$0"
exec >/dev/null 2>&1
make_root() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -subj "/CN=$1" -addext "subjectAltName=IP:127.0.0.1,DNS:localhost" \
    -keyout "$1.key" -out "$1.pem"
}
make_root authority
make_root stranger
for name in server client; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -subj "/CN=$name" -keyout $name.key -out $name.csr
  echo subjectAltName=IP:127.0.0.1,DNS:localhost > $name.ext
  openssl x509 -req -in $name.csr -CA authority.pem -CAkey authority.key \
    -CAcreateserial -days 2 -extfile $name.ext -out $name.pem
done
)";

std::string Read(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

}  // namespace

TestCertificates MakeTestCertificates() {
  const TempFolder folder;
  const std::string command =
      std::string("sh -c '") + kScript + "' " + folder.path();
  if (system(command.c_str()) != 0) {
    fputs("openssl could not make certificates\n", stderr);
    abort();
  }
  const auto identity = [&](const std::string& name) {
    return TestCertificates::Identity{Read(folder / (name + ".key")),
                                      Read(folder / (name + ".pem"))};
  };
  return {Read(folder / "authority.pem"), identity("server"),
          identity("client"), identity("stranger")};
}

}  // namespace handoff
