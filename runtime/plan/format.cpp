#include "runtime/plan/format.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/base/random.h"

namespace troupe {

static_assert(std::endian::native == std::endian::little, "the header and the checksum read little-endian words");

namespace {

// Printable text as it is, other bytes as hex: "TroupePl", "\x7fELF\x02...".
std::string shown(std::span<const std::byte> bytes) {
  std::string text;
  for (std::byte byte : bytes) {
    const int c = static_cast<int>(byte);
    constexpr const char* digits = "0123456789abcdef";
    if (c >= 0x20 && c < 0x7f) {
      text += static_cast<char>(c);
    } else {
      text += {'\\', 'x', digits[c >> 4], digits[c & 15]};
    }
  }
  return text;
}

}  // namespace

uint64_t plan_checksum(std::span<const std::byte> body) {
  CHECK(body.size() % 8 == 0, body.size());
  uint64_t state = mix64(body.size());
  for (size_t i = 0; i < body.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, body.data() + i, 8);
    state = mix64(state ^ word);
  }
  return state;
}

PlanHeader plan_header(std::span<const std::byte> body) {
  PlanHeader header{};
  std::memcpy(header.magic, kPlanMagic.data(), sizeof header.magic);
  header.version = kPlanVersion;
  header.body_bytes = body.size();
  header.checksum = plan_checksum(body);
  return header;
}

void refuse_plan(const std::string& origin, const std::string& reason) {
  Fault fault;
  fault.what = origin + " cannot be read: " + reason;
  throw FaultError(std::move(fault));
}

std::span<const std::byte> checked_plan_body(std::span<const std::byte> bytes, const std::string& origin) {
  PlanHeader header;
  const std::string size = std::to_string(bytes.size()) + " bytes";
  if (bytes.empty()) refuse_plan(origin, "it is empty; a plan starts with a header of 32 bytes");
  const auto start = bytes.first(std::min(bytes.size(), kPlanMagic.size()));
  if (std::memcmp(start.data(), kPlanMagic.data(), start.size()) != 0) {
    refuse_plan(origin, "it starts with '" + shown(start) + "'; a plan starts with '" + std::string(kPlanMagic) + "'");
  }
  if (bytes.size() < sizeof header) refuse_plan(origin, "it has " + size + "; the header of a plan alone has 32");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.version != kPlanVersion) {
    refuse_plan(origin, "it is of plan format version " + std::to_string(header.version) +
                            "; this build reads version " + std::to_string(kPlanVersion));
  }
  const auto body = bytes.subspan(sizeof header);
  if (header.zero != 0) refuse_plan(origin, "its header is damaged: bytes 12 to 15 must be zero");
  if (header.body_bytes != body.size()) {
    refuse_plan(origin, "it has " + size + "; its header announces 32 + " + std::to_string(header.body_bytes));
  }
  if (body.size() % 8 != 0) refuse_plan(origin, "its content is not a whole number of 8-byte words");
  if (const uint64_t found = plan_checksum(body); found != header.checksum) {
    refuse_plan(origin, "it is damaged: the checksum of its content is " + std::to_string(found) +
                            ", its header says " + std::to_string(header.checksum));
  }
  return body;
}

}  // namespace troupe
