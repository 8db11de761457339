// Who may pass into an encrypted network: connections wait here until both ends have shown the run's certificate.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "actors/tls_session.h"

namespace troupe {

// Between the thread of the network and the one that owns it.
class TlsGate {
 public:
  // PlanError as by TlsContext.
  explicit TlsGate(const TlsIdentity& identity) : context_(identity) {}

  const TlsContext& context() const { return context_; }

  // For the network, of a socket that it keeps open in between: a connection waits, until it is let in or turned away.
  void wait(int socket, const std::string& peer, double now);
  void let_in(int socket);
  void turn_away(int socket, const TlsSession::Failure& failure);  // nothing to tell when it has not failed

  // Closes the connections that have waited for longer.
  void hurry(double patience_s, double now);
  struct TurnedAway {
    std::string peer;
    TlsSession::Failure failure;
  };
  // Who has been, since the last call.
  std::vector<TurnedAway> turned_away();

 private:
  struct Waiting {
    std::string peer;
    double since = 0;
    double waited = 0;  // given up after so long
  };

  TlsContext context_;
  std::mutex mutex_;
  std::map<int, Waiting> waiting_;
  std::vector<TurnedAway> turned_away_;
};

}  // namespace troupe
