#include "actors/tls_session.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "actors/tls_gate.h"
#include "runtime/base/error.h"

namespace troupe {
namespace {

using Outcome = TlsSession::Outcome;
using Role = TlsSession::Role;

// Two sockets that are connected and do not block.
struct Sockets {
  Sockets() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, end), 0); }
  ~Sockets() {
    close(end[0]);
    close(end[1]);
  }
  Sockets(const Sockets&) = delete;
  int end[2] = {-1, -1};
};

// Lets both go on until both have come to an end.
void shake_hands(TlsSession& server, TlsSession& client) {
  Outcome one = Outcome::again;
  Outcome other = Outcome::again;
  for (int turn = 0; turn < 20 && (one == Outcome::again || other == Outcome::again); ++turn) {
    if (other == Outcome::again) other = client.handshake();
    if (one == Outcome::again) one = server.handshake();
  }
}

struct Pair : Sockets {
  explicit Pair(const TlsIdentity& of_server, const TlsIdentity& of_client)
      : server(TlsContext(of_server), Role::server, end[0]), client(TlsContext(of_client), Role::client, end[1]) {
    shake_hands(server, client);
  }
  explicit Pair(const TlsIdentity& both) : Pair(both, both) {}
  TlsSession server;
  TlsSession client;
};

// A peer of OpenSSL's that accepts every server, and has this certificate, if any.
class Stranger {
 public:
  explicit Stranger(int socket, const TlsIdentity* identity = nullptr) {
    if (identity != nullptr) {
      BIO* certificate = BIO_new_mem_buf(identity->certificate.data(), -1);
      BIO* key = BIO_new_mem_buf(identity->key.data(), -1);
      X509* read = PEM_read_bio_X509(certificate, nullptr, nullptr, nullptr);
      EVP_PKEY* read_key = PEM_read_bio_PrivateKey(key, nullptr, nullptr, nullptr);
      SSL_CTX_use_certificate(context_, read);
      SSL_CTX_use_PrivateKey(context_, read_key);
      X509_free(read);
      EVP_PKEY_free(read_key);
      BIO_free(certificate);
      BIO_free(key);
    }
    session_ = SSL_new(context_);
    SSL_set_fd(session_, socket);
    SSL_set_connect_state(session_);
  }
  ~Stranger() {
    SSL_free(session_);
    SSL_CTX_free(context_);
  }
  Stranger(const Stranger&) = delete;
  void shake_hands(TlsSession& server) {
    Outcome outcome = Outcome::again;
    for (int turn = 0; turn < 20 && outcome == Outcome::again; ++turn) {
      SSL_do_handshake(session_);
      outcome = server.handshake();
    }
  }

 private:
  SSL_CTX* context_ = SSL_CTX_new(TLS_client_method());
  SSL* session_ = nullptr;
};

std::string why_refused(const TlsIdentity& identity) {
  try {
    TlsContext context(identity);
  } catch (const PlanError& error) {
    return error.what();
  }
  ADD_FAILURE() << "it is accepted";
  return "";
}

TEST(TlsSession, CarriesBytesBothWaysUnreadably) {
  Pair pair(make_tls_identity());
  ASSERT_TRUE(pair.server.established() && pair.client.established());
  std::string sent(3'000'000, 'x');
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>('a' + i * 7 % 23);
  for (const auto& [from, to] : {std::pair(&pair.server, &pair.client), std::pair(&pair.client, &pair.server)}) {
    std::string received;
    size_t written = 0;
    std::vector<char> buffer(100'000);
    while (received.size() < sent.size()) {
      size_t count = 0;
      if (written < sent.size()) {
        ASSERT_NE(from->write(sent.data() + written, sent.size() - written, count), Outcome::closed);
        written += count;
      }
      while (to->read(buffer.data(), buffer.size(), count) == Outcome::done) received.append(buffer.data(), count);
    }
    EXPECT_EQ(received, sent);
  }
  // What lies on the socket is something else.
  size_t count = 0;
  ASSERT_EQ(pair.client.write("a secret of the run", 19, count), Outcome::done);
  std::string wire(1000, 0);
  const ssize_t size = recv(pair.end[0], wire.data(), wire.size(), MSG_PEEK);
  ASSERT_GT(size, 19);
  EXPECT_EQ(wire.find("secret"), std::string::npos);
}

TEST(TlsSession, TakesNoOtherCertificate) {
  Pair pair(make_tls_identity(), make_tls_identity());
  EXPECT_FALSE(pair.client.established() || pair.server.established());
  EXPECT_EQ(pair.client.failure().why, "it shows another certificate than this end has");
  EXPECT_TRUE(pair.client.failure().refused);
  EXPECT_TRUE(pair.server.failure().why.starts_with("it does not accept the certificate of this end"))
      << pair.server.failure().why;
  EXPECT_TRUE(pair.server.failure().refused);
  EXPECT_EQ(pair.client.handshake(), Outcome::closed);  // and stays so
}

TEST(TlsSession, TakesNoClientWithoutTheCertificate) {
  const TlsIdentity ours = make_tls_identity();
  const TlsIdentity other = make_tls_identity();
  const TlsContext context(ours);
  for (const auto& [identity, why] :
       {std::pair<const TlsIdentity*, const char*>(nullptr, "it shows no certificate"),
        std::pair<const TlsIdentity*, const char*>(&other, "it shows another certificate than this end has")}) {
    const Sockets sockets;
    TlsSession server(context, Role::server, sockets.end[0]);
    Stranger stranger(sockets.end[1], identity);
    stranger.shake_hands(server);
    EXPECT_FALSE(server.established());
    EXPECT_EQ(server.failure().why, why);
  }
  const Sockets sockets;
  TlsSession server(context, Role::server, sockets.end[0]);
  Stranger known(sockets.end[1], &ours);  // the test of the test
  known.shake_hands(server);
  EXPECT_TRUE(server.established()) << server.failure().why;
}

TEST(TlsSession, SaysWhatDoesNotSpeakTls) {
  const TlsContext context(make_tls_identity());
  for (const std::string said : {"GET / HTTP/1.0\r\n\r\n", "x the protocol of some other program"}) {
    for (const Role role : {Role::server, Role::client}) {
      const Sockets sockets;
      TlsSession session(context, role, sockets.end[0]);
      EXPECT_EQ(session.handshake(), Outcome::again);
      ASSERT_GT(send(sockets.end[1], said.data(), said.size(), 0), 0);
      EXPECT_EQ(session.handshake(), Outcome::closed);
      EXPECT_EQ(session.failure().why, "it does not speak TLS");
      EXPECT_TRUE(session.failure().refused);
    }
  }
}

// Of the alerts of the other end, those that are about certificates and no others are put down to these.
TEST(TlsSession, SaysWhatTheOtherEndGivesAsTheReason) {
  const TlsContext context(make_tls_identity());
  const std::string certificate = "it does not accept the certificate of this end (", other = "it gives TLS up (";
  for (const auto& [alert, why] :
       {std::pair(42, certificate + "sslv3 alert bad certificate)"),
        std::pair(48, certificate + "tlsv1 alert unknown ca)"),
        std::pair(49, certificate + "tlsv1 alert access denied)"),
        std::pair(116, certificate + "tlsv13 alert certificate required)"),
        std::pair(40, other + "sslv3 alert handshake failure)"), std::pair(70, other + "tlsv1 alert protocol version)"),
        std::pair(80, other + "tlsv1 alert internal error)")}) {
    const Sockets sockets;
    TlsSession session(context, Role::client, sockets.end[0]);
    EXPECT_EQ(session.handshake(), Outcome::again);
    const unsigned char record[] = {
        21, 3, 3, 0, 2, 2, static_cast<unsigned char>(alert)};  // a fatal one, not encrypted
    ASSERT_EQ(send(sockets.end[1], record, sizeof(record), 0), static_cast<ssize_t>(sizeof(record)));
    EXPECT_EQ(session.handshake(), Outcome::closed);
    EXPECT_EQ(session.failure().why, why);
    EXPECT_TRUE(session.failure().refused);
  }
}

TEST(TlsSession, SaysThatTheOtherEndIsClosed) {
  const TlsContext context(make_tls_identity());
  Sockets sockets;
  TlsSession session(context, Role::server, sockets.end[0]);
  shutdown(sockets.end[1], SHUT_RDWR);
  EXPECT_EQ(session.handshake(), Outcome::closed);
  EXPECT_EQ(session.failure().why, "it has closed the connection");
  EXPECT_FALSE(session.failure().refused);

  Pair pair(make_tls_identity());
  shutdown(pair.end[1], SHUT_RDWR);  // as when a process is killed
  char byte = 0;
  size_t count = 0;
  EXPECT_EQ(pair.server.read(&byte, 1, count), Outcome::closed);
}

// The failure of one is not taken for that of another.
TEST(TlsSession, LeavesOthersAlone) {
  Pair pair(make_tls_identity());
  char byte = 0;
  size_t count = 0;
  EXPECT_EQ(pair.server.read(&byte, 1, count), Outcome::again);
  const Pair strangers(make_tls_identity(), make_tls_identity());
  EXPECT_FALSE(strangers.server.established());
  EXPECT_EQ(pair.server.read(&byte, 1, count), Outcome::again);
}

TEST(TlsSession, RefusesACertificateThatExpiresBeforeItIsShown) {
  const TlsIdentity short_lived = make_tls_identity(-100, 2);
  const Sockets sockets;
  const TlsContext context(short_lived);
  TlsSession server(context, Role::server, sockets.end[0]);
  TlsSession client(context, Role::client, sockets.end[1]);
  std::this_thread::sleep_for(std::chrono::milliseconds(2100));
  shake_hands(server, client);
  EXPECT_FALSE(server.established() || client.established());
  EXPECT_EQ(client.failure().why, "the run's certificate has expired, by the clock of this host");
}

TEST(TlsContext, RefusesWhatCannotBeUsed) {
  const TlsIdentity good = make_tls_identity();
  EXPECT_TRUE(why_refused({"", good.key}).starts_with("TLS: the certificate is not one in PEM"));
  EXPECT_TRUE(why_refused({good.key, good.key}).starts_with("TLS: the certificate is not one in PEM"));
  EXPECT_TRUE(why_refused({good.certificate, "x"}).starts_with("TLS: the key is not a private key in PEM"));
  EXPECT_EQ(why_refused({good.certificate, make_tls_identity().key}), "TLS: the key is not that of the certificate");
  EXPECT_TRUE(
      why_refused(make_tls_identity(-100, -10)).starts_with("TLS: the certificate has expired: it was valid until "));
  EXPECT_TRUE(why_refused(make_tls_identity(1000, 2000)).starts_with("TLS: the certificate is not valid before "));
  TlsContext(TlsIdentity{good.key + good.certificate, good.key + good.certificate});  // one file with both
}

TEST(TlsContext, RefusesAKeyWithAPassphraseWithoutAsking) {
  TlsIdentity identity = make_tls_identity();
  BIO* from = BIO_new_mem_buf(identity.key.data(), -1);
  EVP_PKEY* key = PEM_read_bio_PrivateKey(from, nullptr, nullptr, nullptr);
  BIO* to = BIO_new(BIO_s_mem());
  const auto* phrase = reinterpret_cast<const unsigned char*>("phrase");
  PEM_write_bio_PrivateKey(to, key, EVP_aes_128_cbc(), phrase, 6, nullptr, nullptr);
  char* text = nullptr;
  const long size = BIO_get_mem_data(to, &text);
  identity.key.assign(text, static_cast<size_t>(size));
  EVP_PKEY_free(key);
  BIO_free(from);
  BIO_free(to);
  EXPECT_TRUE(why_refused(identity).starts_with("TLS: the key is not a private key in PEM without a passphrase"));
}

TEST(TlsGate, GivesUpWhoShowsNothing) {
  const Sockets sockets;
  const Sockets late;
  TlsGate gate(make_tls_identity());
  gate.wait(sockets.end[0], "node7", 100);
  gate.wait(late.end[0], "node8", 104);
  gate.hurry(5, 104.9);
  char byte = 0;
  EXPECT_EQ(recv(sockets.end[1], &byte, 1, 0), -1);
  gate.hurry(5, 105);
  EXPECT_EQ(recv(sockets.end[1], &byte, 1, 0), 0);
  EXPECT_EQ(recv(late.end[1], &byte, 1, 0), -1);
  EXPECT_TRUE(gate.turned_away().empty());
  gate.turn_away(sockets.end[0], {"it has closed the connection", false});
  gate.turn_away(late.end[0], {});  // the network ends
  const auto away = gate.turned_away();
  ASSERT_EQ(away.size(), 1u);
  EXPECT_EQ(away[0].peer, "node7");
  EXPECT_EQ(away[0].failure.why, "it has not shown a certificate within 5 s");
  EXPECT_TRUE(gate.turned_away().empty());
}

}  // namespace
}  // namespace troupe
