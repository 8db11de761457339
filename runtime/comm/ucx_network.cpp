#include "runtime/comm/ucx_network.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/error.h"
#include "runtime/comm/chunks.h"
#include "runtime/comm/ucx_library.h"
#include "runtime/comm/ucx_memory.h"

namespace troupe {
namespace {

// The kinds of active messages.
constexpr unsigned kMessage = 1;
constexpr unsigned kLarge = 2;  // that one comes in chunks
constexpr unsigned kChunk = 3;
constexpr double kCloseSeconds = 0.5;  // for what is under way to be given up

std::vector<std::byte> header_of(const ChunkHeader& chunk, std::span<const std::byte> rest = {}) {
  std::vector<std::byte> header(sizeof(chunk) + rest.size());
  std::memcpy(header.data(), &chunk, sizeof(chunk));
  std::ranges::copy(rest, header.begin() + sizeof(chunk));
  return header;
}

// What UCX reads and writes until a send or a receive is over.
struct Transfer {
  UcxNetwork* network = nullptr;
  std::vector<std::byte> header;
  std::function<void(bool)> over;  // whether all of it went or came
  std::vector<ucp_dt_iov_t> pieces = {};
  std::span<std::byte> whole = {};                            // of one piece
  std::shared_ptr<const UcxMemory::Region> memory = nullptr;  // where it lies, if registered

  void hold(const Pieces& of) {
    if (of.size() == 1) whole = of.front();
    if (of.size() < 2) return;
    for (const std::span<std::byte> piece : of) pieces.push_back({piece.data(), piece.size()});
  }
  void* buffer() { return pieces.empty() ? whole.data() : static_cast<void*>(pieces.data()); }
  size_t count() const { return pieces.empty() ? whole.size() : pieces.size(); }
  ucp_datatype_t type() const {
    return pieces.empty() ? ucp_dt_make_contig(1) : static_cast<ucp_datatype_t>(UCP_DATATYPE_IOV);
  }
  // What UCX is told of it. UCX 1.13 takes a handle for one piece only, and registers several each time; so it does too,
  // by its source, at a receiver that reads the sender's memory itself (RDMA), though not at one that is written to.
  ucp_request_param_t param() {
    ucp_request_param_t param{};
    param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_DATATYPE;
    param.datatype = type();
    param.user_data = this;
    if (memory == nullptr) return param;
    param.op_attr_mask |= UCP_OP_ATTR_FIELD_MEMH;
    param.memh = memory->handle();
    return param;
  }
};

struct Peer {
  int number;
  ucp_ep_h endpoint;
  OutgoingChunks chunks;
};

}  // namespace

struct UcxNetwork::State {
  const UcxLibrary& ucx = ucx_library();
  ucp_context_h context = nullptr;
  ucp_worker_h worker = nullptr;
  std::unique_ptr<UcxMemory> memory;
  int64_t registered_sends = 0;
  int64_t registered_pulls = 0;
  int file = -1;
  std::map<int, std::shared_ptr<Peer>> peers;
  std::map<ucp_ep_h, int> numbers;
  std::random_device random;
  IncomingChunks coming;
  // To be told:
  std::vector<std::pair<int, ucs_status_t>> failures;
  std::vector<uint64_t> sent;
  std::vector<std::pair<uint64_t, bool>> received;  // which come within `progress` alone
  std::set<Transfer*> under_way;
  std::vector<void*> closing;  // peers, until the end
  User* user = nullptr;        // within `progress`

  ~State() {
    if (worker != nullptr) ucx.worker_destroy(worker);
    for (Transfer* transfer : under_way) delete transfer;
    memory.reset();
    if (context != nullptr) ucx.cleanup(context);
  }

  void check(ucs_status_t status, const std::string& what) const {
    if (status == UCS_OK) return;
    Fault fault;
    fault.what = what + ": " + ucx.status_string(status);
    throw FaultError(std::move(fault));
  }

  void hold(Transfer& transfer, const Pieces& pieces) {
    transfer.hold(pieces);
    if (pieces.size() == 1) transfer.memory = memory->find(pieces.front());
    under_way.insert(&transfer);
  }
  void over(Transfer* transfer, bool whole) {
    if (transfer->over) transfer->over(whole);
    under_way.erase(transfer);
    delete transfer;
  }
  static void over(void* request, ucs_status_t status, void* data) {
    auto* transfer = static_cast<Transfer*>(data);
    State& state = *transfer->network->state_;
    state.over(transfer, status == UCS_OK);
    state.ucx.request_free(request);
  }
  static void on_received(void* request, ucs_status_t status, size_t, void* data) { over(request, status, data); }
  static void on_failed(void* data, ucp_ep_h peer, ucs_status_t status) {
    State& state = *static_cast<UcxNetwork*>(data)->state_;
    const auto it = state.numbers.find(peer);
    if (it != state.numbers.end()) state.failures.emplace_back(it->second, status);
  }

  // ---- sending ----

  void send(UcxNetwork* network, const Peer& peer, unsigned kind, std::vector<std::byte> header, const Pieces& pieces,
            std::function<void(bool)> when_over) {
    auto* transfer = new Transfer{network, std::move(header), std::move(when_over)};
    hold(*transfer, pieces);
    registered_sends += transfer->memory != nullptr;
    ucp_request_param_t param = transfer->param();
    param.cb.send = &State::over;  // what failed is also told by the peer's own handler
    void* request = ucx.am_send(peer.endpoint, kind, transfer->header.data(), transfer->header.size(),
                                transfer->buffer(), transfer->count(), &param);
    if (UCS_PTR_IS_PTR(request)) return;
    if (UCS_PTR_IS_ERR(request)) failures.emplace_back(peer.number, UCS_PTR_STATUS(request));
    over(transfer, !UCS_PTR_IS_ERR(request));
  }

  void send_chunks(UcxNetwork* network, const std::shared_ptr<Peer>& peer) {
    while (std::optional<OutgoingChunks::Chunk> chunk = peer->chunks.next()) {
      const auto when_over = [this, peer, message = chunk->header.message](bool went) {
        peer->chunks.sent(message, went);
        look_at_sent(*peer);
      };
      send(network, *peer, kChunk, header_of(chunk->header), chunk->pieces, when_over);
    }
  }
  void look_at_sent(Peer& peer) {
    for (uint64_t tag : peer.chunks.over()) sent.push_back(tag);
  }

  // ---- receiving ----

  // UCX's answer to a message of which these bytes go there.
  ucs_status_t take(UcxNetwork* network, void* bytes, const ucp_am_recv_param_t& how, const Pieces& pieces,
                    std::function<void(bool)> when_over) {
    if ((how.recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) == 0) {
      const auto* from = static_cast<const std::byte*>(bytes);
      for (const std::span<std::byte> piece : pieces) {
        std::memcpy(piece.data(), from, piece.size());
        from += piece.size();
      }
      when_over(true);
      return UCS_OK;
    }
    auto* transfer = new Transfer{network, {}, std::move(when_over)};
    hold(*transfer, pieces);
    registered_pulls += transfer->memory != nullptr;
    ucp_request_param_t param = transfer->param();
    param.op_attr_mask |= UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
    param.cb.recv_am = &State::on_received;
    void* request = ucx.am_recv_data(worker, bytes, transfer->buffer(), transfer->count(), &param);
    if (UCS_PTR_IS_ERR(request)) over(transfer, false);
    return UCS_INPROGRESS;
  }

  static ucs_status_t on_message(void* data, const void* header, size_t header_bytes, void* bytes, size_t size,
                                 const ucp_am_recv_param_t* how) {
    auto* network = static_cast<UcxNetwork*>(data);
    State& state = *network->state_;
    if (state.user == nullptr) return UCS_OK;
    const std::span of(static_cast<const std::byte*>(header), header_bytes);
    const std::optional<User::Into> into = state.user->arrived(of, static_cast<int64_t>(size));
    if (!into) return UCS_OK;
    const auto when_over = [&state, tag = into->tag](bool whole) { state.received.emplace_back(tag, whole); };
    if (size_of(into->pieces) == static_cast<int64_t>(size))
      return state.take(network, bytes, *how, into->pieces, when_over);
    when_over(false);
    return UCS_OK;
  }
  static ucs_status_t on_large(void* data, const void* header, size_t header_bytes, void*, size_t,
                               const ucp_am_recv_param_t*) {
    State& state = *static_cast<UcxNetwork*>(data)->state_;
    ChunkHeader chunk;
    if (state.user == nullptr || header_bytes < sizeof(chunk)) return UCS_OK;
    std::memcpy(&chunk, header, sizeof(chunk));
    const std::span of(static_cast<const std::byte*>(header) + sizeof(chunk), header_bytes - sizeof(chunk));
    std::optional<User::Into> into = state.user->arrived(of, chunk.offset);
    if (!into) return UCS_OK;
    const int peer = into->peer;
    state.coming.begin(chunk.message, std::move(*into), chunk.offset);
    if (!state.peers.contains(peer)) state.coming.end(peer);
    return UCS_OK;
  }
  static ucs_status_t on_chunk(void* data, const void* header, size_t header_bytes, void* bytes, size_t size,
                               const ucp_am_recv_param_t* how) {
    auto* network = static_cast<UcxNetwork*>(data);
    State& state = *network->state_;
    ChunkHeader chunk;
    if (state.user == nullptr || header_bytes != sizeof(chunk)) return UCS_OK;
    std::memcpy(&chunk, header, sizeof(chunk));
    const auto bytes_here = static_cast<int64_t>(size);
    const std::optional<Pieces> pieces = state.coming.next(chunk, bytes_here);
    if (!pieces) return UCS_OK;
    return state.take(network, bytes, *how, *pieces, [&state, message = chunk.message, bytes_here](bool whole) {
      state.coming.received(message, bytes_here, whole);
    });
  }

  bool tell() {
    for (const auto& over : coming.over()) received.push_back(over);
    const bool something = !sent.empty() || !received.empty() || !failures.empty();
    for (uint64_t tag : std::exchange(sent, {})) user->sent(tag);
    for (const auto& [tag, whole] : std::exchange(received, {})) user->received(tag, whole);
    for (const auto& [peer, status] : std::exchange(failures, {})) user->failed(peer, ucx.status_string(status));
    return something;
  }
};

UcxNetwork::UcxNetwork(const std::string& devices) : state_(std::make_unique<State>()) {
  State& state = *state_;
  const UcxLibrary& ucx = state.ucx;
  ucp_config_t* config = nullptr;
  state.check(ucx.config_read(nullptr, nullptr, &config), "UCX's settings cannot be read");
  // Processes of one host share memory without it, and its segments would outlive a killed process.
  if (std::getenv("UCX_TLS") == nullptr) ucx.config_modify(config, "TLS", "^posix,sysv,cma,xpmem,knem");
  if (!devices.empty() && std::getenv("UCX_NET_DEVICES") == nullptr) {
    ucx.config_modify(config, "NET_DEVICES", devices.c_str());
  }
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES;
  params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
  const ucs_status_t status = ucx.init_version(UCP_API_MAJOR, UCP_API_MINOR, &params, config, &state.context);
  ucx.config_release(config);
  state.check(status, "no network device can be used" + (devices.empty() ? "" : " of " + devices));
  state.memory = std::make_unique<UcxMemory>(ucx, state.context);
  ucp_worker_params_t worker{};
  worker.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  worker.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  state.check(ucx.worker_create(state.context, &worker, &state.worker), "UCX cannot start");
  ucp_am_handler_param_t handler{};
  handler.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG |
                       UCP_AM_HANDLER_PARAM_FIELD_FLAGS;
  handler.arg = this;
  handler.flags = UCP_AM_FLAG_WHOLE_MSG;
  const std::pair<unsigned, ucp_am_recv_callback_t> handlers[] = {
      {kMessage, &State::on_message}, {kLarge, &State::on_large}, {kChunk, &State::on_chunk}};
  for (const auto& [id, callback] : handlers) {
    handler.id = id;
    handler.cb = callback;
    state.check(ucx.worker_set_am_recv_handler(state.worker, &handler), "UCX cannot start");
  }
  state.check(ucx.worker_get_efd(state.worker, &state.file), "UCX cannot wait");
}

void UcxNetwork::disconnect(int peer) {
  State& state = *state_;
  const auto it = state.peers.find(peer);
  if (it == state.peers.end()) return;
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  const std::shared_ptr<Peer> closed = it->second;
  closed->chunks.end();
  state.look_at_sent(*closed);
  state.numbers.erase(closed->endpoint);
  state.peers.erase(it);
  void* request = state.ucx.ep_close(closed->endpoint, &param);
  if (UCS_PTR_IS_PTR(request)) state.closing.push_back(request);
  state.coming.end(peer);
}

UcxNetwork::~UcxNetwork() {
  State& state = *state_;
  state.user = nullptr;
  while (!state.peers.empty()) disconnect(state.peers.begin()->first);
  const SteadyClock clock;
  const double until = clock.now() + kCloseSeconds;
  const auto open = [&](void* request) { return state.ucx.request_check_status(request) == UCS_INPROGRESS; };
  for (void* request : state.closing) {
    while (open(request) && clock.now() < until) state.ucx.worker_progress(state.worker);
    state.ucx.request_free(request);
  }
}

std::string UcxNetwork::address() const {
  ucp_worker_attr_t attr{};
  attr.field_mask = UCP_WORKER_ATTR_FIELD_ADDRESS | UCP_WORKER_ATTR_FIELD_ADDRESS_FLAGS;
  attr.address_flags = UCP_WORKER_ADDRESS_FLAG_NET_ONLY;
  state_->check(state_->ucx.worker_query(state_->worker, &attr), "UCX does not say its address");
  std::string address(reinterpret_cast<const char*>(attr.address), attr.address_length);
  state_->ucx.worker_release_address(state_->worker, attr.address);
  return address;
}

void UcxNetwork::connect(int peer, const std::string& address) {
  CHECK(!state_->peers.contains(peer), peer);
  ucp_ep_params_t params{};
  params.field_mask =
      UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.address = reinterpret_cast<const ucp_address_t*>(address.data());
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler.cb = &State::on_failed;
  params.err_handler.arg = this;
  ucp_ep_h endpoint = nullptr;
  state_->check(state_->ucx.ep_create(state_->worker, &params, &endpoint), "no way to another process");
  state_->peers[peer] = std::make_shared<Peer>(peer, endpoint, OutgoingChunks());
  state_->numbers[endpoint] = peer;
}

void UcxNetwork::send(int peer, std::span<const std::byte> header, Pieces pieces, uint64_t tag) {
  State& state = *state_;
  const std::shared_ptr<Peer>& to = state.peers.at(peer);
  const int64_t bytes = size_of(pieces);
  if (bytes <= kChunkBytes) {
    return state.send(this, *to, kMessage, {header.begin(), header.end()}, pieces,
                      [&state, tag](bool) { state.sent.push_back(tag); });
  }
  const uint64_t message = uint64_t{state.random()} << 32 | state.random();
  to->chunks.add(message, std::move(pieces), tag);
  state.send(this, *to, kLarge, header_of({message, bytes}, header), {}, {});
  state.send_chunks(this, to);
}

bool UcxNetwork::progress(User& user) {
  State& state = *state_;
  state.user = &user;
  bool something = state.ucx.worker_progress(state.worker) != 0;
  for (const auto& [number, peer] : state.peers) state.send_chunks(this, peer);
  something |= state.tell();
  state.user = nullptr;
  return something;
}

bool UcxNetwork::arm() {
  const bool told = state_->sent.empty() && state_->failures.empty() && state_->coming.idle();
  return told && state_->ucx.worker_arm(state_->worker) == UCS_OK;
}

int UcxNetwork::file() const { return state_->file; }

void UcxNetwork::register_memory(std::span<std::byte> memory) { state_->memory->add(memory); }
void UcxNetwork::unregister_memory(std::span<std::byte> memory) { state_->memory->remove(memory); }
int64_t UcxNetwork::registered_sends() const { return state_->registered_sends; }
int64_t UcxNetwork::registered_pulls() const { return state_->registered_pulls; }

}  // namespace troupe
