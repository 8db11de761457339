#include "actors/tls_session.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "runtime/base/check.h"
#include "runtime/base/error.h"

namespace troupe {
namespace {

using Memory = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Memory memory_of(const std::string& text) {
  return Memory(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
}

std::string reason() {
  const char* text = ERR_reason_error_string(ERR_peek_last_error());
  return text == nullptr ? "OpenSSL does not say why" : text;
}

[[noreturn]] void refuse(const std::string& what) { throw PlanError("TLS: " + what); }

Certificate certificate_of(const std::string& pem) {
  Certificate found(PEM_read_bio_X509(memory_of(pem).get(), nullptr, nullptr, nullptr), X509_free);
  if (found == nullptr) refuse("the certificate is not one in PEM, with a line BEGIN CERTIFICATE (" + reason() + ")");
  return found;
}

Key key_of(const std::string& pem) {
  const auto no_passphrase = [](char*, int, int, void*) { return -1; };  // otherwise the terminal is asked
  Key found(PEM_read_bio_PrivateKey(memory_of(pem).get(), nullptr, no_passphrase, nullptr), EVP_PKEY_free);
  if (found == nullptr) refuse("the key is not a private key in PEM without a passphrase (" + reason() + ")");
  return found;
}

std::string text_of(const ASN1_TIME* time) {
  const Memory memory(BIO_new(BIO_s_mem()), BIO_free);
  CHECK(ASN1_TIME_print(memory.get(), time) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &text);
  return {text, static_cast<size_t>(size)};
}

// X509_V_OK, or that it is not valid now.
int validity(const X509* certificate) {
  if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) return X509_V_ERR_CERT_NOT_YET_VALID;
  if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) return X509_V_ERR_CERT_HAS_EXPIRED;
  return X509_V_OK;
}

// Instead of a chain of trust: the peer's certificate is ours, whose key it has proved to have.
int accept_ours(X509_STORE_CTX* peer, void* ours) {
  X509* const shown = X509_STORE_CTX_get0_cert(peer);
  const bool same = X509_cmp(shown, static_cast<X509*>(ours)) == 0;
  const int verdict = same ? validity(shown) : X509_V_ERR_CERT_REJECTED;
  X509_STORE_CTX_set_error(peer, verdict);
  return verdict == X509_V_OK ? 1 : 0;
}

// Without SIGPIPE, which OpenSSL's own way to write raises when the other end is closed.
int send_quietly(BIO* socket, const char* bytes, int size) {
  BIO_clear_retry_flags(socket);
  const ssize_t sent =
      send(static_cast<int>(BIO_get_fd(socket, nullptr)), bytes, static_cast<size_t>(size), MSG_NOSIGNAL);
  if (sent < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(socket);
  return static_cast<int>(sent);
}

using SocketMethod = std::unique_ptr<BIO_METHOD, decltype(&BIO_meth_free)>;

SocketMethod quiet_socket() {
  SocketMethod method(BIO_meth_new(BIO_TYPE_SOCKET, "socket without signals"), BIO_meth_free);
  const BIO_METHOD* const socket = BIO_s_socket();
  CHECK(method != nullptr && BIO_meth_set_write(method.get(), send_quietly) == 1 &&
        BIO_meth_set_read(method.get(), BIO_meth_get_read(socket)) == 1 &&
        BIO_meth_set_ctrl(method.get(), BIO_meth_get_ctrl(socket)) == 1 &&
        BIO_meth_set_create(method.get(), BIO_meth_get_create(socket)) == 1 &&
        BIO_meth_set_destroy(method.get(), BIO_meth_get_destroy(socket)) == 1);
  return method;
}

// Whether an alert of the peer's is about the certificate that it was shown, or was not.
bool is_about_certificates(int alert) {
  switch (alert) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_CERTIFICATE_REQUIRED:
      return true;
    default:
      return false;
  }
}

TlsSession::Failure failure_of(const SSL* session) {
  switch (SSL_get_verify_result(session)) {
    case X509_V_OK:
      break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return {"the run's certificate has expired, by the clock of this host", true};
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return {"the run's certificate is not valid yet, by the clock of this host", true};
    default:
      return {"it shows another certificate than this end has", true};
  }
  const unsigned long error = ERR_peek_error();
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) return {"it has closed the connection", false};
  const int why = ERR_GET_REASON(error);
  switch (why) {
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
      return {"it has closed the connection", false};
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return {"it shows no certificate", true};
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_RECORD_TOO_SMALL:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
      return {"it does not speak TLS", true};
    default:
      break;
  }
  if (why > SSL_AD_REASON_OFFSET) {
    const bool certificate = is_about_certificates(why - SSL_AD_REASON_OFFSET);
    return {std::string(certificate ? "it does not accept the certificate of this end" : "it gives TLS up") + " (" +
                reason() + ")",
            true};
  }
  return {"TLS fails: " + reason(), true};
}

}  // namespace

TlsContext::TlsContext(const TlsIdentity& identity) : context_(SSL_CTX_new(TLS_method()), SSL_CTX_free) {
  ERR_clear_error();
  const Certificate certificate = certificate_of(identity.certificate);
  const Key key = key_of(identity.key);
  const int now = validity(certificate.get());
  if (now == X509_V_ERR_CERT_HAS_EXPIRED) {
    refuse("the certificate has expired: it was valid until " + text_of(X509_get0_notAfter(certificate.get())));
  }
  if (now == X509_V_ERR_CERT_NOT_YET_VALID) {
    refuse("the certificate is not valid before " + text_of(X509_get0_notBefore(certificate.get())));
  }
  if (X509_check_private_key(certificate.get(), key.get()) != 1) refuse("the key is not that of the certificate");
  SSL_CTX* const context = context_.get();
  CHECK(context != nullptr);
  if (SSL_CTX_use_certificate(context, certificate.get()) != 1 || SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    refuse("the certificate cannot be used: " + reason());
  }
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(context, accept_ours, SSL_CTX_get0_certificate(context));  // lives with the context
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);  // every connection shows a certificate
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

TlsSession::TlsSession(const TlsContext& context, Role role, int socket)
    : session_(SSL_new(context.context_.get()), SSL_free) {
  static const SocketMethod method = quiet_socket();
  BIO* const ends = BIO_new(method.get());
  CHECK(session_ != nullptr && ends != nullptr);
  BIO_set_fd(ends, socket, BIO_NOCLOSE);
  SSL_set_bio(session_.get(), ends, ends);
  if (role == Role::server) {
    SSL_set_accept_state(session_.get());
  } else {
    SSL_set_connect_state(session_.get());
  }
}

template <class Call>
TlsSession::Outcome TlsSession::try_to(Call&& call) {
  if (closed_) return Outcome::closed;
  // OpenSSL keeps a thread's errors in a queue, and takes what is in it for the error of the call that comes next,
  // perhaps about another connection.
  ERR_clear_error();
  const int result = call();
  if (result > 0) return Outcome::done;
  const int error = SSL_get_error(session_.get(), result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return Outcome::again;
  closed_ = true;
  failure_ = failure_of(session_.get());
  return Outcome::closed;
}

TlsSession::Outcome TlsSession::handshake() {
  const Outcome outcome = try_to([&] { return SSL_do_handshake(session_.get()); });
  established_ = outcome == Outcome::done;
  return outcome;
}

TlsSession::Outcome TlsSession::read(void* into, size_t size, size_t& count) {
  count = 0;
  return try_to([&] {
    const int result = SSL_read(session_.get(), into, static_cast<int>(std::min<size_t>(size, INT_MAX)));
    count = static_cast<size_t>(std::max(result, 0));
    return result;
  });
}

TlsSession::Outcome TlsSession::write(const void* from, size_t size, size_t& count) {
  count = 0;
  return try_to([&] {
    const int result = SSL_write(session_.get(), from, static_cast<int>(std::min<size_t>(size, INT_MAX)));
    count = static_cast<size_t>(std::max(result, 0));
    return result;
  });
}

size_t TlsSession::pending() const { return static_cast<size_t>(SSL_pending(session_.get())); }

}  // namespace troupe
