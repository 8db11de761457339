#include "runtime/comm/ucx_network.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/error.h"
#include "runtime/comm/ucx_library.h"
#include "runtime/comm/ucx_memory.h"

namespace troupe {
namespace {

constexpr unsigned kMessage = 1;       // the kind of active message that is used
constexpr double kCloseSeconds = 0.5;  // for what is under way to be given up

// What UCX reads and writes until a send or a receive is over.
struct Transfer {
  UcxNetwork* network = nullptr;
  std::vector<std::byte> header;
  std::vector<ucp_dt_iov_t> pieces;
  std::span<std::byte> whole;  // of one piece
  uint64_t tag = 0;
  std::shared_ptr<const UcxMemory::Region> memory;  // where it lies, if registered

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

}  // namespace

struct UcxNetwork::State {
  const UcxLibrary& ucx = ucx_library();
  ucp_context_h context = nullptr;
  ucp_worker_h worker = nullptr;
  std::unique_ptr<UcxMemory> memory;
  int64_t registered_sends = 0;
  int64_t registered_pulls = 0;
  int file = -1;
  std::map<int, ucp_ep_h> peers;
  std::map<ucp_ep_h, int> numbers;
  std::vector<std::pair<int, ucs_status_t>> failures;  // to be told
  std::vector<Transfer*> done;                         // sends, to be told
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

  void over_received(Transfer* transfer, bool complete) {
    if (user != nullptr) user->received(transfer->tag, complete);
    drop(transfer);
  }
  void drop(Transfer* transfer) {
    under_way.erase(transfer);
    delete transfer;
  }

  static void on_sent(void* request, ucs_status_t, void* data) {
    auto* transfer = static_cast<Transfer*>(data);
    State& state = *transfer->network->state_;
    state.done.push_back(transfer);  // what failed is told by the peer's own handler
    state.ucx.request_free(request);
  }
  static void on_received(void* request, ucs_status_t status, size_t, void* data) {
    auto* transfer = static_cast<Transfer*>(data);
    State& state = *transfer->network->state_;
    state.over_received(transfer, status == UCS_OK);
    state.ucx.request_free(request);
  }
  static void on_failed(void* data, ucp_ep_h peer, ucs_status_t status) {
    State& state = *static_cast<UcxNetwork*>(data)->state_;
    const auto it = state.numbers.find(peer);
    if (it != state.numbers.end()) state.failures.emplace_back(it->second, status);
  }
  static ucs_status_t on_arrived(void* data, const void* header, size_t header_bytes, void* bytes, size_t size,
                                 const ucp_am_recv_param_t* param) {
    auto* network = static_cast<UcxNetwork*>(data);
    State& state = *network->state_;
    if (state.user == nullptr) return UCS_OK;
    const std::span of(static_cast<const std::byte*>(header), header_bytes);
    std::optional<User::Into> into = state.user->arrived(of, static_cast<int64_t>(size));
    if (!into) return UCS_OK;
    size_t room = 0;
    for (const std::span<std::byte> piece : into->pieces) room += piece.size();
    if (room != size) {
      state.user->received(into->tag, false);
      return UCS_OK;
    }
    if ((param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) == 0) {
      const auto* from = static_cast<const std::byte*>(bytes);
      for (const std::span<std::byte> piece : into->pieces) {
        std::memcpy(piece.data(), from, piece.size());
        from += piece.size();
      }
      state.user->received(into->tag, true);
      return UCS_OK;
    }
    state.pull(network, bytes, *into);
    return UCS_INPROGRESS;
  }

  void hold(Transfer& transfer, const Pieces& pieces) {
    transfer.hold(pieces);
    if (pieces.size() == 1) transfer.memory = memory->find(pieces.front());
    under_way.insert(&transfer);
  }

  void pull(UcxNetwork* network, void* description, const User::Into& into) {
    auto* transfer = new Transfer{network, {}, {}, {}, into.tag, nullptr};
    hold(*transfer, into.pieces);
    registered_pulls += transfer->memory != nullptr;
    ucp_request_param_t param = transfer->param();
    param.op_attr_mask |= UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
    param.cb.recv_am = &State::on_received;
    void* request = ucx.am_recv_data(worker, description, transfer->buffer(), transfer->count(), &param);
    if (UCS_PTR_IS_ERR(request)) over_received(transfer, false);
  }

  bool tell() {
    const bool something = !done.empty() || !failures.empty();
    for (Transfer* transfer : std::exchange(done, {})) {
      user->sent(transfer->tag);
      drop(transfer);
    }
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
  handler.id = kMessage;
  handler.cb = &State::on_arrived;
  handler.arg = this;
  handler.flags = UCP_AM_FLAG_WHOLE_MSG;
  state.check(ucx.worker_set_am_recv_handler(state.worker, &handler), "UCX cannot start");
  state.check(ucx.worker_get_efd(state.worker, &state.file), "UCX cannot wait");
}

void UcxNetwork::disconnect(int peer) {
  State& state = *state_;
  const auto it = state.peers.find(peer);
  if (it == state.peers.end()) return;
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  void* request = state.ucx.ep_close(it->second, &param);
  if (UCS_PTR_IS_PTR(request)) state.closing.push_back(request);
  state.numbers.erase(it->second);
  state.peers.erase(it);
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
  state_->peers[peer] = endpoint;
  state_->numbers[endpoint] = peer;
}

void UcxNetwork::send(int peer, std::span<const std::byte> header, Pieces pieces, uint64_t tag) {
  State& state = *state_;
  auto* transfer = new Transfer{this, {header.begin(), header.end()}, {}, {}, tag, nullptr};
  state.hold(*transfer, pieces);
  state.registered_sends += transfer->memory != nullptr;
  ucp_request_param_t param = transfer->param();
  param.cb.send = &State::on_sent;
  void* request = state.ucx.am_send(state.peers.at(peer), kMessage, transfer->header.data(), transfer->header.size(),
                                    transfer->buffer(), transfer->count(), &param);
  if (UCS_PTR_IS_PTR(request)) return;
  if (UCS_PTR_IS_ERR(request)) state.failures.emplace_back(peer, UCS_PTR_STATUS(request));
  state.done.push_back(transfer);
}

bool UcxNetwork::progress(User& user) {
  State& state = *state_;
  state.user = &user;
  bool something = state.ucx.worker_progress(state.worker) != 0;
  something |= state.tell();
  state.user = nullptr;
  return something;
}

bool UcxNetwork::arm() {
  return state_->done.empty() && state_->failures.empty() && state_->ucx.worker_arm(state_->worker) == UCS_OK;
}

int UcxNetwork::file() const { return state_->file; }

void UcxNetwork::register_memory(std::span<std::byte> memory) { state_->memory->add(memory); }
void UcxNetwork::unregister_memory(std::span<std::byte> memory) { state_->memory->remove(memory); }
int64_t UcxNetwork::registered_sends() const { return state_->registered_sends; }
int64_t UcxNetwork::registered_pulls() const { return state_->registered_pulls; }

}  // namespace troupe
