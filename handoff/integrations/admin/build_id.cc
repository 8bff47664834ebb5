#include "handoff/integrations/admin/build_id.h"

#include <elf.h>
#include <link.h>

#include <cstdint>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"

namespace handoff {
namespace {

// Notes and their parts are padded to this (elf(5), "Notes").
constexpr size_t kAlign = 4;

size_t Padded(size_t size) { return (size + kAlign - 1) / kAlign * kAlign; }

std::string FindIn(absl::string_view notes) {
  ElfW(Nhdr) header;
  while (notes.size() >= sizeof(header)) {
    std::memcpy(&header, notes.data(), sizeof(header));
    notes.remove_prefix(sizeof(header));
    const size_t name = Padded(header.n_namesz);
    const size_t value = Padded(header.n_descsz);
    if (notes.size() < name || notes.size() - name < value) break;
    if (header.n_type == NT_GNU_BUILD_ID &&
        notes.substr(0, header.n_namesz) ==
            absl::string_view(ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU))) {
      return absl::BytesToHexString(notes.substr(name, header.n_descsz));
    }
    notes.remove_prefix(name + value);
  }
  return "";
}

// The first object is the program itself (dl_iterate_phdr(3)).
int LookAt(dl_phdr_info* info, size_t /*size*/, void* result) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const std::string found = FindIn(
        {reinterpret_cast<const char*>(info->dlpi_addr + segment.p_vaddr),
         segment.p_memsz});
    if (found.empty()) continue;
    *static_cast<std::string*>(result) = found;
    break;
  }
  return 1;
}

}  // namespace

std::string BuildId() {
  std::string id;
  ::dl_iterate_phdr(LookAt, &id);
  return id;
}

}  // namespace handoff
