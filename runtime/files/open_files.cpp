#include "runtime/files/open_files.h"

#include <utility>

namespace troupe {

std::shared_ptr<const OpenFile> OpenFiles::add(const std::string& path) {
  auto open = std::make_shared<const OpenFile>(what_, path);
  const std::lock_guard lock(mutex_);
  files_.push_back({path, open->size(), open->number()});
  keep(files_.size() - 1, open);
  return open;
}

void OpenFiles::read(size_t file, int64_t offset, std::span<std::byte> into) const { opened(file)->read(offset, into); }

// One that is closed meanwhile stays open for who has it.
std::shared_ptr<const OpenFile> OpenFiles::opened(size_t file) const {
  const std::lock_guard lock(mutex_);
  const Entry& entry = files_.at(file);
  if (entry.open != nullptr) {
    recent_.splice(recent_.begin(), recent_, entry.place);
    return entry.open;
  }
  auto open = std::make_shared<const OpenFile>(what_, entry.path);
  if (open->number() != entry.number)
    refuse_read(what_, entry.path, "it is another file than when it was first opened");
  if (open->size() < entry.size) {
    refuse_read(what_, entry.path,
                "it had " + std::to_string(entry.size) + " bytes when it was first opened and has " +
                    std::to_string(open->size()) + " now");
  }
  keep(file, open);
  return open;
}

void OpenFiles::keep(size_t file, std::shared_ptr<const OpenFile> open) const {
  recent_.push_front(file);
  files_[file].open = std::move(open);
  files_[file].place = recent_.begin();
  if (recent_.size() <= at_once_) return;
  files_[recent_.back()].open = nullptr;
  recent_.pop_back();
}

}  // namespace troupe
