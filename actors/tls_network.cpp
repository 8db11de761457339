#include "actors/tls_network.h"

#include <unistd.h>

#include <caf/io/basp_broker.hpp>
#include <caf/io/middleman.hpp>
#include <caf/io/middleman_actor_impl.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/network/doorman_impl.hpp>
#include <caf/io/network/stream_impl.hpp>
#include <caf/io/scribe.hpp>
#include <string>
#include <utility>

#include "runtime/base/clock.h"

namespace troupe {
namespace {

namespace network = caf::io::network;
using network::native_socket;
using network::rw_state;
using Outcome = TlsSession::Outcome;

double now() { return SteadyClock().now(); }

std::string address_of(native_socket socket) {
  const auto found = network::remote_addr_of_fd(socket);
  return found ? *found : "somebody";
}

// One connection. What is to be written waits until the session is established.
class Connection final : public caf::io::scribe {
 public:
  Connection(network::default_multiplexer& multiplexer, native_socket socket, std::shared_ptr<TlsGate> gate,
             TlsSession::Role role, const std::string& peer)
      : scribe(network::conn_hdl_from_socket(socket)),
        gate_(std::move(gate)),
        session_(gate_->context(), role, socket),
        stream_(multiplexer, socket, this) {
    network::keepalive(socket, true);  // as CAF has it for those in the clear
    gate_->wait(socket, peer, now());
    if (role == TlsSession::Role::client) session_.handshake();  // a failure is seen when it is read
  }
  ~Connection() override { gate_->turn_away(stream_.fd(), session_.failure()); }

  void configure_read(caf::io::receive_policy::config config) override {
    stream_.configure_read(config);
    if (!std::exchange(launched_, true)) stream_.start(this);
  }
  void ack_writes(bool enable) override { stream_.ack_writes(enable); }
  std::vector<char>& wr_buf() override { return stream_.wr_buf(); }
  std::vector<char>& rd_buf() override { return stream_.rd_buf(); }
  void flush() override {
    if (session_.established()) stream_.flush(this);
  }
  void graceful_shutdown() override {
    stream_.graceful_shutdown();
    detach(&stream_.backend(), false);
  }
  std::string addr() const override { return address_of(stream_.fd()); }
  uint16_t port() const override {
    const auto found = network::remote_port_of_fd(stream_.fd());
    return found ? *found : 0;
  }
  void add_to_loop() override { stream_.activate(this); }
  void remove_from_loop() override { stream_.passivate(); }

 private:
  // How the stream reads and writes.
  class Policy {
   public:
    explicit Policy(Connection* connection) : connection_(connection) {}
    rw_state read_some(size_t& count, native_socket, void* into, size_t size) {
      return connection_->read(into, size, count);
    }
    rw_state write_some(size_t& count, native_socket, const void* from, size_t size) {
      if (size == 0) return rw_state::indeterminate;
      return state(connection_->session_.write(from, size, count));
    }
    bool must_read_more(native_socket, size_t threshold) { return connection_->session_.pending() >= threshold; }

   private:
    Connection* connection_;
  };

  static rw_state state(Outcome outcome) { return outcome == Outcome::closed ? rw_state::failure : rw_state::success; }

  rw_state read(void* into, size_t size, size_t& count) {
    count = 0;
    if (!session_.established()) {
      // It waits for the peer alone: what a handshake writes is less than what a socket holds.
      const Outcome outcome = session_.handshake();
      if (outcome == Outcome::closed) gate_->turn_away(stream_.fd(), session_.failure());
      if (outcome != Outcome::done) return state(outcome);
      gate_->let_in(stream_.fd());
      flush();
    }
    return state(session_.read(into, size, count));
  }

  std::shared_ptr<TlsGate> gate_;
  TlsSession session_;
  network::stream_impl<Policy> stream_;
  bool launched_ = false;
};

class Door final : public network::doorman_impl {
 public:
  Door(network::default_multiplexer& multiplexer, native_socket socket, std::shared_ptr<TlsGate> gate)
      : doorman_impl(multiplexer, socket), gate_(std::move(gate)) {}

  bool new_connection() override {
    const native_socket socket = acceptor_.accepted_socket();
    if (detached()) {  // closed by its broker while this event was under way
      close(socket);
      return false;
    }
    network::default_multiplexer& multiplexer = acceptor_.backend();
    auto connection =
        caf::make_counted<Connection>(multiplexer, socket, gate_, TlsSession::Role::server, address_of(socket));
    const auto handle = connection->hdl();
    parent()->add_scribe(std::move(connection));
    return doorman::new_connection(&multiplexer, handle);
  }

 private:
  std::shared_ptr<TlsGate> gate_;
};

class Middleman final : public caf::io::middleman_actor_impl {
 public:
  Middleman(caf::actor_config& config, caf::actor broker, std::shared_ptr<TlsGate> gate)
      : middleman_actor_impl(config, std::move(broker)), gate_(std::move(gate)) {}

 private:
  caf::expected<caf::io::scribe_ptr> connect(const std::string& host, uint16_t port) override {
    const auto socket = network::new_tcp_connection(host, port);
    if (!socket) return socket.error();
    network::nonblocking(*socket, true);
    return caf::make_counted<Connection>(multiplexer(), *socket, gate_, TlsSession::Role::client,
                                         host + ":" + std::to_string(port));
  }

  caf::expected<caf::io::doorman_ptr> open(uint16_t port, const char* address, bool reuse) override {
    const auto socket = network::new_tcp_acceptor_impl(port, address, reuse);
    if (!socket) return socket.error();
    return caf::make_counted<Door>(multiplexer(), *socket, gate_);
  }

  network::default_multiplexer& multiplexer() {
    return dynamic_cast<network::default_multiplexer&>(system().middleman().backend());
  }

  std::shared_ptr<TlsGate> gate_;
};

}  // namespace

caf::io::middleman_actor spawn_tls_middleman(caf::actor_system& system, std::shared_ptr<TlsGate> gate) {
  const auto broker = system.middleman().named_broker<caf::io::basp_broker>(caf::atom("BASP"));
  return system.spawn<Middleman, caf::detached + caf::hidden>(broker, std::move(gate));
}

}  // namespace troupe
