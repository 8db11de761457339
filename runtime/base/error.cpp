#include "runtime/base/error.h"

#include <cstdio>

namespace troupe {
namespace {

std::string with_place(const std::string& op, const std::string& path, const std::string& text,
                       const SourceLine& line) {
  std::string whole = op;
  if (!path.empty()) whole += " '" + path + "'";
  whole += ": " + text;
  if (line.known()) whole += " (" + line.str() + ")";
  return whole;
}

}  // namespace

std::string SourceLine::str() const {
  if (!known()) return "";
  const size_t slash = file.rfind('/');
  return (slash == std::string::npos ? file : file.substr(slash + 1)) + ":" + std::to_string(line);
}

PlanError::PlanError(const std::string& op, const std::string& path, const std::string& text, const SourceLine& line)
    : std::runtime_error(with_place(op, path, text, line)) {}

std::string Fault::str() const {
  std::string text;
  if (!task.empty()) text += task;
  if (!device.empty()) text += (text.empty() ? "" : ", ") + device;
  if (!text.empty()) text += ": ";
  text += what;
  if (!peer.empty()) text += "; waited for " + peer;
  if (deadline > 0) {
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, " for %.1f s", deadline);
    text += seconds;
  }
  return text;
}

}  // namespace troupe
