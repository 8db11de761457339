// One process's part of what goes between processes that share no memory. Messages of executors here to executors there
// are taken from their lanes and sent, a `ready` together with the bytes that its readers want; what arrives is put into
// the lanes of executors here, a `ready` once its bytes are there: in this process's own copy of the other's arena, at
// the same place. So executors and actors know nothing of it.
//
// Bytes are also fetched and stored when no task asks for them: what tasks read before their first firing, what the
// driver reads and writes, batches and plans.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include "actors/engine/crossings.h"
#include "actors/engine/doorbell.h"
#include "actors/engine/lane_table.h"
#include "actors/engine/loaded_plan.h"
#include "actors/engine/memory.h"
#include "runtime/base/clock.h"
#include "runtime/comm/network.h"
#include "runtime/comm/wire.h"
#include "runtime/device/arena.h"

namespace troupe {

// The processes of a run: workers by index, then the driver.
struct ExchangeOptions {
  int self = 0;
  uint64_t key = 0;                // of the run; messages without it are dropped
  std::vector<std::string> names;  // of processes: "worker 1 (node7, process 4711)"
  std::vector<bool> far;           // by process: shares no memory with this one
  std::vector<int> process_of;     // by executor
  double beat_s = 0.5;             // how often each far process is told that the link lives
  double patience_s = 5;           // a link between workers that carries nothing for so long is broken
  bool checksums = false;          // of all bytes that this process sends
  bool any_far() const { return std::find(far.begin(), far.end(), true) != far.end(); }
};

// A link that carries less than this is as good as none, for whoever waits for bytes.
constexpr double kLeastBytesPerSecond = 10e6;

// Longer than a worker that says nothing is given up after (its beats come every `beat_s`), so that it is named first.
inline double link_patience(double beat_s) { return std::max(5.0, 10 * beat_s); }

// Several requests that are waited for together.
class ExchangeJob {
 public:
  bool done() const { return left_ == 0; }
  const std::optional<Fault>& failure() const { return failure_; }
  bool refused() const { return refused_; }  // it failed because the other process has not got what was asked for

 private:
  friend class Exchange;
  int left_ = 0;
  bool refused_ = false;
  std::optional<Fault> failure_;
};

// Thread-safe: members lock `mutex`, but for those that want it held. `progress` and `sleep` are called by one thread.
class Exchange final : private Network::User {
 public:
  Exchange(std::unique_ptr<Network> network, ExchangeOptions options, const Clock& clock);
  ~Exchange() override;

  std::string address() const { return network_->address(); }
  // By process; those of near ones are not used. FaultError that names the process whose address is none.
  void connect(const std::vector<std::string>& addresses);
  int self() const { return options_.self; }
  bool is_far(int executor) const { return is_far_process(options_.process_of[static_cast<size_t>(executor)]); }
  bool is_far_process(int process) const { return options_.far[static_cast<size_t>(process)]; }

  // ---- for the engine, with `mutex` held: while lanes or memory move, or a plan's life changes ----
  std::mutex& mutex() { return mutex_; }
  // Takes what executors have sent away out of their lanes.
  bool drain();
  // Where the lanes lie from now on, and the doorbells of own executors.
  void set_lanes(const LaneTable& lanes, ExecutorRange own, Doorbell* doorbells);
  // Held while arenas may be made, replaced or dropped, and a plan added or removed: the network knows nothing of them
  // meanwhile, and afterwards where the bytes of the plans that there are cross.
  class MemoryChange {
   public:
    explicit MemoryChange(Exchange* exchange);  // null: nothing
    ~MemoryChange();
    MemoryChange(const MemoryChange&) = delete;

   private:
    Exchange* exchange_;
  };
  // A plan, until `remove`, and the memory of this process. `loaded` says what runs here; null where nothing does.
  void add(const PlanLife& life, const LoadedPlan* loaded, const Memory& memory, Crossings crossings);
  void remove(PlanHandle handle);

  // Rung by own executors that have sent something away.
  Doorbell& bell() { return bell_; }
  // Whoever rang the bell wakes the thread.
  void wake();
  // All of these are set before the thread runs, must not block, and are called by it: an executor's bell was rung; a
  // job may be done; a peer or a link failed.
  std::function<void(int)> wake_executor;
  std::function<void()> changed;
  std::function<void(Fault)> on_fault;

  // ---- requests: the job, and what `keep` holds, live until it is done or abandoned ----
  // Bytes of another process, which are written to `into`, or come from `from`.
  void fetch(ExchangeJob& job, int process, WirePlace place, Pieces into, std::shared_ptr<const Arena> keep = {});
  void store(ExchangeJob& job, int process, WirePlace place, Pieces from);
  // What tasks of this process read of others before their first firing.
  void fetch_initial(ExchangeJob& job, PlanHandle handle);
  // When done, nothing that another process sent before its own fence of this number is under way to this one any more,
  // and nothing of this one to others. All processes with executors do so while no task fires.
  void fence(ExchangeJob& job, uint64_t number);
  bool done(const ExchangeJob& job) const;
  // Waits for at most so long.
  bool done(const ExchangeJob& job, double at_most_s) const;
  void abandon(ExchangeJob& job);
  // Of all jobs, in words: "register 'wte' of worker 1 (node7, process 4711)".
  std::string open_requests() const;
  // Ends all that is under way, and all links: memory that jobs used is touched no more. Faults from then on.
  void disconnect();
  std::optional<Fault> fault() const;

  // ---- for executors of this process, so that a short wait needs no other thread ----
  // By one that has nothing to do: carries on in the thread's place; meanwhile that looks up only now and then. False when
  // it is at it itself.
  bool assist();
  // By one that assists no longer.
  void hand_back();

  // ---- for the thread ----
  // True when something happened. What goes wrong here is a fault.
  bool progress();
  // An executor has assisted a moment ago, and will again unless a kernel keeps it.
  bool is_assisted() const;
  // Until something comes, or for about so long; without `network` only what comes from executors counts.
  void sleep(double at_most_s, bool network = true);

 private:
  struct Loaded {
    const PlanLife* life = nullptr;
    const LoadedPlan* loaded = nullptr;
    const Memory* memory = nullptr;
    Crossings crossings;
    uint32_t epoch = 0;         // that `sent` is of
    std::vector<int64_t> sent;  // by crossing: the newest version whose bytes were sent
    uint32_t told_epoch = 0;    // that `told` is of
    std::vector<int64_t> told;  // by crossing: the newest version whose bytes come, or have come
  };
  struct FarLane {  // to an executor elsewhere
    LaneReceiver lane;
    int from;
    int to;
  };
  struct Request {
    ExchangeJob* job;
    int process;
    Pieces pieces;
    std::string what;
    std::shared_ptr<const Arena> keep;
    bool is_store = false;
  };
  struct Peer {
    double heard = 0;
    double told = 0;          // when a beat was last sent
    double confirmed_at = 0;  // when more was last known to have come there:
    uint64_t confirmed = 0;   // messages up to this one
    uint64_t said = 0;        // the number of the last message to it, and from it
    uint64_t taken = 0;
    bool broken = false;
    uint64_t fence = 0;  // the last of its fences
    WireNotes notes;     // to be sent in one message, with the bytes of one of them
    Pieces pieces;
  };
  struct Arriving {  // bytes under way to this process
    int from = 0;
    uint64_t checksum = 0;
    Pieces pieces;
    std::vector<WireNote> notes;  // to be delivered then: of one crossing and version
    int crossing = -1;
    bool here = false;     // waits for versions of the crossing before it
    uint64_t fetched = 0;  // or the request that is done then
    uint64_t stored = 0;   // or the request of the other that is answered then
    std::shared_ptr<const Arena> keep;
  };
  struct Sending {
    int to;
    int64_t bytes;
    std::shared_ptr<const Arena> keep;
  };
  struct AwaitedFence {
    ExchangeJob* job;
    uint64_t number;
  };
  using Body = decltype(WireHeader::body);

  std::optional<Into> arrived(std::span<const std::byte> header, int64_t bytes) override;
  void received(uint64_t tag, bool complete) override;
  void sent(uint64_t tag) override;
  void failed(int peer, const std::string& why) override;

  std::optional<Into> take(const WireHeader& header, const WireNotes& notes, int64_t bytes);
  std::optional<Into> take(const WireHeader& header, const WireNote& note, int64_t bytes);
  std::optional<Into> take_bytes(const WireHeader& header, const WireNote& note, Loaded& loaded, int crossing,
                                 int64_t bytes);
  int64_t& newest_told(Loaded& loaded, int crossing);
  std::optional<Into> take(const WireHeader& header, const WireFetched& fetched, int64_t bytes);
  std::optional<Into> take(const WireHeader& header, const WireStore& store, int64_t bytes);
  Into expect(Arriving arriving);
  void arrived_version(Arriving& arriving, const std::string& failure);
  void serve(int from, const WirePlace& place);
  // Null for a message of an older life, which is dropped.
  Loaded* find_live(const Message& message);
  // The bytes that a place names; what is wrong with it otherwise.
  std::variant<Pieces, std::string> pieces_at(const WirePlace& place, int asker, std::shared_ptr<const Arena>& keep);
  void post(const FarLane& lane, const Message& message);
  void send_notes(int process);
  void deliver(const WireNote& note);
  void send(int process, Body body, Pieces pieces = {}, std::shared_ptr<const Arena> keep = {});
  void ask(ExchangeJob& job, int process, Request request, WirePlace place, bool is_store);
  void settle(uint64_t request, const std::string& failure = {}, bool refused = false);
  void finish(ExchangeJob& job, const std::string& failure, const std::string& peer = {});
  bool quiet() const;
  bool carry_on(std::unique_lock<std::mutex> lock);
  void fail(const std::string& why);
  void look_at_fences();
  bool is_due(int process, uint64_t number);
  void look_at_links();
  std::vector<std::span<std::byte>> crossing_memory() const;
  void raise(int process, const std::string& what, double waited = 0);

  std::unique_ptr<Network> network_;
  const ExchangeOptions options_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  mutable std::condition_variable finished_;  // a job
  Doorbell bell_;
  int wakes_ = -1;                    // an eventfd
  std::atomic<double> assisted_{-1};  // when an executor last did
  std::atomic<bool> rests_{false};    // the thread, because it is assisted
  std::map<uint16_t, Loaded> plans_;
  std::vector<std::span<std::byte>> registered_;  // with the network
  std::vector<FarLane> outgoing_;
  std::map<std::pair<int, int>, LaneSender> incoming_;  // by (from elsewhere, own executor)
  Doorbell* doorbells_ = nullptr;                       // by executor
  std::vector<Peer> peers_;                             // by process
  bool connected_ = false;
  double looked_ = 0;           // at the links
  int64_t arriving_bytes_ = 0;  // all that are under way to this process
  int64_t sending_bytes_ = 0;   // and from it
  uint64_t next_ = 1;           // of tags and requests
  std::map<uint64_t, Request> requests_;
  std::map<uint64_t, Arriving> arriving_;                         // by tag
  std::map<std::tuple<uint16_t, int, int64_t>, uint64_t> pulls_;  // by plan, crossing and version: the tag
  std::map<uint64_t, Sending> sending_;                           // by tag
  std::vector<AwaitedFence> fences_;
  std::vector<std::byte> header_;             // of the message that is being sent
  std::vector<std::function<void()>> later_;  // what must not happen within the network's own calls
  std::optional<Fault> fault_;
  bool tell_ = false;  // `changed` is to be called
};

}  // namespace troupe
