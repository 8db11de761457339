#include "actors/tls_gate.h"

#include <sys/socket.h>

#include <sstream>
#include <utility>

namespace troupe {

void TlsGate::wait(int socket, const std::string& peer, double now) {
  const std::lock_guard lock(mutex_);
  waiting_[socket] = {peer, now, 0};
}

void TlsGate::let_in(int socket) {
  const std::lock_guard lock(mutex_);
  waiting_.erase(socket);
}

void TlsGate::turn_away(int socket, const TlsSession::Failure& failure) {
  const std::lock_guard lock(mutex_);
  const auto found = waiting_.find(socket);
  if (found == waiting_.end()) return;
  TlsSession::Failure because = failure;
  if (found->second.waited > 0) {
    std::ostringstream text;
    text << "it has not shown a certificate within " << found->second.waited << " s";
    because.why = text.str();
  }
  if (!because.why.empty()) turned_away_.push_back({found->second.peer, std::move(because)});
  waiting_.erase(found);
}

void TlsGate::hurry(double patience_s, double now) {
  const std::lock_guard lock(mutex_);  // while it is held, no socket that waits is closed
  for (auto& [socket, waiting] : waiting_) {
    if (now - waiting.since < patience_s || waiting.waited > 0) continue;
    waiting.waited = patience_s;
    shutdown(socket, SHUT_RDWR);  // the network sees the end of it
  }
}

std::vector<TlsGate::TurnedAway> TlsGate::turned_away() {
  const std::lock_guard lock(mutex_);
  return std::exchange(turned_away_, {});
}

}  // namespace troupe
