// oneDNN takes its threads from OpenMP; a call must use the caller's alone. The setting is per thread and put back.
#pragma once

#include <dlfcn.h>

namespace troupe::cpu {

class OneThread {
 public:
  OneThread() {
    if (runtime().set == nullptr) return;
    before_ = runtime().get();
    if (before_ != 1) runtime().set(1);
  }
  ~OneThread() {
    if (before_ > 1) runtime().set(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  struct OpenMp {
    int (*get)() = nullptr;
    void (*set)(int) = nullptr;
  };

  // Looked up, since whether oneDNN was built with OpenMP is its packager's choice.
  static const OpenMp& runtime() {
    static const OpenMp found = [] {
      OpenMp symbols;
      void* library = dlopen("libgomp.so.1", RTLD_LAZY | RTLD_NOLOAD);
      if (library == nullptr) return symbols;
      symbols.get = reinterpret_cast<int (*)()>(dlsym(library, "omp_get_max_threads"));
      symbols.set = reinterpret_cast<void (*)(int)>(dlsym(library, "omp_set_num_threads"));
      if (symbols.get == nullptr) symbols.set = nullptr;
      return symbols;
    }();
    return found;
  }

  int before_ = 1;
};

}  // namespace troupe::cpu
