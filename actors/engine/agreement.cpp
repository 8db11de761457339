#include "actors/engine/agreement.h"

#include <algorithm>
#include <set>
#include <string>

namespace troupe {
namespace {

// Device, byte and box of a part; empty where the plan does not use it, and so does not say where it lies.
std::string place_of(const LoadedPlan& of, const PlanPart& part) {
  const DeviceId device = of.device_of(part.reg);
  if (!device.valid()) return {};
  return of.plan().devices[device.index()].name + " byte " + std::to_string(of.plan().reg(part.reg).slots[0]) +
         " with " + part.box.str();
}

}  // namespace

void check_agree(const LoadedPlan& fresh, const LoadedPlan& old) {
  const auto refuse = [&](const std::string& why) { throw PlanError("plan", fresh.plan().name, why, {}); };
  const std::string other = "'" + old.plan().name + "'";
  if (old.plan().epoch != fresh.plan().epoch) {
    refuse("is of epoch " + std::to_string(fresh.plan().epoch) + ", but " + other + " of epoch " +
           std::to_string(old.plan().epoch) + " is still loaded");
  }
  for (const PlanVariable& variable : fresh.plan().variables) {
    const auto same = std::find_if(old.plan().variables.begin(), old.plan().variables.end(),
                                   [&](const PlanVariable& v) { return v.name == variable.name; });
    if (same == old.plan().variables.end()) continue;
    std::set<std::string> places;
    for (const PlanPart& part : same->parts) places.insert(place_of(old, part));
    for (const PlanPart& part : variable.parts) {
      const std::string place = place_of(fresh, part);
      if (place.empty() || places.contains(place)) continue;
      refuse("has variable '" + variable.name + "' at " + place + ", but " + other + " of the same epoch does not");
    }
  }
}

}  // namespace troupe
