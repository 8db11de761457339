// One encrypted connection: TLS 1.3 by OpenSSL over a socket that does not block. Both ends show the certificate of the
// run and accept no other.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "actors/tls_identity.h"

struct ssl_st;
struct ssl_ctx_st;

namespace troupe {

// What the connections of a process share.
class TlsContext {
 public:
  // PlanError when certificate and key cannot be read, do not belong together or are not valid today.
  explicit TlsContext(const TlsIdentity& identity);

 private:
  friend class TlsSession;
  std::shared_ptr<ssl_ctx_st> context_;
};

// Used by one thread at a time. Once closed it stays so.
class TlsSession {
 public:
  enum class Role { server, client };
  // `again`: when the socket can be read, or written, again.
  enum class Outcome { done, again, closed };
  struct Failure {
    std::string why;       // "it does not speak TLS"
    bool refused = false;  // one of the two ends does not accept the other, and would not another time
  };

  // The socket stays its owner's, and outlives the session.
  TlsSession(const TlsContext& context, Role role, int socket);

  // Neither end reads or writes before it is done. The client begins.
  Outcome handshake();
  bool established() const { return established_; }
  // At most `size` bytes, which is not 0; `count` is how many.
  Outcome read(void* into, size_t size, size_t& count);
  // After `again` with the same bytes.
  Outcome write(const void* from, size_t size, size_t& count);
  // Bytes that can be read although the socket has none.
  size_t pending() const;
  // Why it is closed; empty while it is not.
  const Failure& failure() const { return failure_; }

 private:
  template <class Call>
  Outcome try_to(Call&& call);

  std::shared_ptr<ssl_st> session_;
  bool established_ = false;
  bool closed_ = false;
  Failure failure_;
};

}  // namespace troupe
