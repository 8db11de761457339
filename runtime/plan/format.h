// The header in front of a serialized plan; plan.capnp describes it. Shared by the writer, the reader and
// their tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace troupe {

constexpr std::string_view kPlanMagic = "TroupePl";
constexpr uint32_t kPlanVersion = 2;

// As it lies in the file, on a little-endian machine.
struct PlanHeader {
  char magic[8];
  uint32_t version;
  uint32_t zero;
  uint64_t body_bytes;
  uint64_t checksum;
};
static_assert(sizeof(PlanHeader) == 32);

// Of a body whose size is a multiple of 8. Every step is a bijection of the state and of the word, so damage
// within one word is always found, damage elsewhere with a chance of 1 - 2^-64.
uint64_t plan_checksum(std::span<const std::byte> body);

// The header of this body.
PlanHeader plan_header(std::span<const std::byte> body);

// What follows the header, once everything that the header promises has been checked. Throws FaultError;
// `origin` stands for the bytes in its text.
std::span<const std::byte> checked_plan_body(std::span<const std::byte> bytes, const std::string& origin);

// "ORIGIN cannot be read: REASON"
[[noreturn]] void refuse_plan(const std::string& origin, const std::string& reason);

}  // namespace troupe
