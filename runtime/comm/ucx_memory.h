// Memory that is registered with UCX beforehand, so that a transfer on RDMA need not do so each time: with its hooks into
// memory allocation off, UCX keeps no cache of what it has registered.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>

#include "runtime/comm/ucx_library.h"

namespace troupe {

// Used by one thread at a time. The context outlives it, and every region that it gave.
class UcxMemory {
 public:
  class Region {
   public:
    Region(const UcxLibrary& ucx, ucp_context_h context, ucp_mem_h handle)
        : ucx_(ucx), context_(context), handle_(handle) {}
    ~Region() { ucx_.mem_unmap(context_, handle_); }
    Region(const Region&) = delete;
    ucp_mem_h handle() const { return handle_; }

   private:
    const UcxLibrary& ucx_;
    ucp_context_h context_;
    ucp_mem_h handle_;
  };

  UcxMemory(const UcxLibrary& ucx, ucp_context_h context) : ucx_(ucx), context_(context) {}

  // Of memory that does not overlap any other. What a device refuses, for a limit of locked memory perhaps, is left alone:
  // transfers do without.
  void add(std::span<std::byte> memory);
  // A transfer that is under way in it keeps the region until it is over.
  void remove(std::span<std::byte> memory);
  // Where all of these bytes lie; null when no region has them.
  std::shared_ptr<const Region> find(std::span<const std::byte> bytes) const;

 private:
  struct Known {
    size_t bytes;
    std::shared_ptr<const Region> region;
  };
  const UcxLibrary& ucx_;
  ucp_context_h context_;
  std::map<const std::byte*, Known> known_;  // by where it begins
};

}  // namespace troupe
