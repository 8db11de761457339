// The two kinds of failure that are not bugs of ours: the user's mistake and the world's failure.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>

namespace troupe {

// A place in the user's program.
struct SourceLine {
  std::string file;
  int line = 0;
  bool known() const { return line > 0; }
  // "model.py:41" (the last component of the path); empty when unknown.
  std::string str() const;
  bool operator==(const SourceLine&) const = default;
};

// A mistake of the user, found while tracing or planning. The text names the op, the tensor, the shapes, the layout
// and what would be right.
class PlanError : public std::runtime_error {
 public:
  explicit PlanError(const std::string& text) : std::runtime_error(text) {}
  // "matmul 'block3.up': TEXT (model.py:41)"
  PlanError(const std::string& op, const std::string& path, const std::string& text, const SourceLine& line);
};

// A failure of the world: a value in a message, never thrown across an actor boundary. The driver turns it into an
// exception for the user.
struct Fault {
  std::string what;     // "the loss is not finite", "no answer from cpu:3"
  std::string device;   // "cpu:3"
  std::string task;     // the task that failed or that waits
  std::string peer;     // whom it waited for; may be empty
  double deadline = 0;  // seconds waited; 0 where nothing was waited for
  std::string str() const;
  bool operator==(const Fault&) const = default;
};

// A Fault on its way to the user, thrown by the driver in the user's own thread.
class FaultError : public std::runtime_error {
 public:
  explicit FaultError(Fault fault) : std::runtime_error(fault.str()), fault_(std::move(fault)) {}
  const Fault& fault() const { return fault_; }

 private:
  Fault fault_;
};

}  // namespace troupe
