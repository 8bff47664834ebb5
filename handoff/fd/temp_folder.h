#ifndef HANDOFF_FD_TEMP_FOLDER_H_
#define HANDOFF_FD_TEMP_FOLDER_H_

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace handoff {

// For tests: a folder of mode 0700 with a short name, removed with its content.
// The path of a Unix socket is at most 107 bytes, which the temporary folder of
// a build's sandbox exceeds.
class TempFolder {
 public:
  TempFolder() {
    char name[] = "/tmp/ho.XXXXXX";
    if (::mkdtemp(name) != nullptr) path_ = name;
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }

  // Empty where it could not be made.
  const std::string& path() const { return path_; }
  // The path of `name` in it.
  std::string operator/(const std::string& name) const {
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

}  // namespace handoff

#endif  // HANDOFF_FD_TEMP_FOLDER_H_
