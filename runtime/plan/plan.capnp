# The serialized plan: everything a worker needs to run and nothing it has to decide.
#
# File. A plan is a header of 32 bytes followed by one Cap'n Proto message of one segment in canonical form,
# whose root is a `Plan`. All numbers are little-endian. The header:
#
#   bytes  0..7   magic: the letters "TroupePl"
#   bytes  8..11  version of this format, as UInt32 (kPlanVersion in format.h)
#   bytes 12..15  zero
#   bytes 16..23  size of what follows the header in bytes, as UInt64; a multiple of 8
#   bytes 24..31  checksum of what follows the header, as UInt64 (plan_checksum in format.h)
#
# A reader checks all five before it looks at the message, so that a file of another program, of another
# version, one cut short and a damaged one are four different errors. Without the header the rest is an
# ordinary message:
#   tail -c +33 FILE | capnp decode runtime/plan/plan.capnp Plan
# The canonical form makes the bytes a function of the plan alone: equal plans have equal bytes.
#
# Units. Sizes and offsets are bytes unless a field says elements; shapes and boxes count elements; times are
# seconds.
#
# Ids. A device, stream, register or task is named by its index in the list of the plan; -1 is "none", allowed
# only where a field says so. Indices never refer outside the plan: a plan needs no other file.
#
# Invariants (validate.h checks them, the reader of the bytes does not):
#   - a register is an output of its producer and of no other task;
#   - a register with slots lies on its producer's device, where it has a producer; its slots lie in one arena
#     of that device, at multiples of 64 bytes;
#   - per step, the segments of a stream name each of its tasks exactly as often as that task fires, and a task
#     is in no other stream;
#   - per step, a register's producer completes as many versions as each of its readers consumes;
#   - parts of variables and outputs are boxes inside the logical shape.
#
# Versions. A driver and its workers come from one build, so a reader accepts exactly its own version and
# names both numbers when it finds another. Whoever changes the meaning or the layout of anything here raises
# kPlanVersion, and appends fields with the next free number so that old plans can still be decoded by hand.

@0xf9946982e40bc495;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::wire");

struct Plan {
  name @0 :Text;
  epoch @1 :UInt64;  # the life of the runtime this plan belongs to; messages of older epochs are dropped
  seed @2 :UInt64;  # of the run
  rounds @3 :Int32;  # pieces per device and step
  devices @4 :List(Device);
  streams @5 :List(Stream);
  registers @6 :List(Register);
  tasks @7 :List(Task);
  variables @8 :List(Tensor);
  outputs @9 :List(Tensor);
  promise @10 :Promise;
}

enum DType {
  f32 @0;
  f64 @1;
  i32 @2;
  i64 @3;
  u8 @4;
  b8 @5;  # a boolean in one byte, 0 or 1
  bf16 @6;
  f16 @7;
}

enum Arena {
  variables @0;
  workspace @1;
  io @2;
}

struct Device {
  name @0 :Text;  # "cpu:0"
  arenaBytes @1 :List(Int64);  # one per value of Arena
}

struct Stream {
  name @0 :Text;
  device @1 :Int32;
  runsAhead @2 :Bool;  # not held back at step boundaries
  segments @3 :List(Segment);
}

# A part of a stream's order: the tasks, in order, the whole list so many times.
struct Segment {
  repeat @0 :Int32;
  tasks @1 :List(Int32);
}

# An output buffer of a task. No slots: a control edge, which carries order and no bytes.
struct Register {
  name @0 :Text;
  producer @1 :Int32 = -1;  # a task; -1: a variable that this plan never writes
  dtype @2 :DType;
  arena @3 :Arena;
  shape @4 :List(Int64);  # what the device holds, of one piece
  offset @5 :List(Int64);  # where that lies in the logical tensor
  logical @6 :List(Int64);
  bytes @7 :Int64;  # of one slot
  slots @8 :List(Int64);  # offset of each slot in the arena
  slotCount @9 :Int32;  # credits
  every @10 :Int32;  # a version is complete after so many firings
  initial @11 :Int32;  # versions present before the first firing
  device @12 :Int32 = -1;  # whose arena it lies in; -1 for a control edge, which lies nowhere
}

enum TaskKind {
  compute @0;
  source @1;
}

struct Task {
  name @0 :Text;
  kind @1 :TaskKind;
  kernel @2 :Text;  # of the kernel table, or a source
  device @3 :Int32;
  stream @4 :Int32;
  inputs @5 :List(Read);
  outputs @6 :List(Int32);
  attrs @7 :List(Attr);  # sorted by name
  key @8 :UInt64;  # of the node's path, for random numbers
  scratchOffset @9 :Int64;  # in the workspace arena
  scratchBytes @10 :Int64;
  firingsPerStep @11 :Int32;
  firstShard @12 :Int32;
  shards @13 :Int32;
  piecesPerShard @14 :Int32;
  file @15 :Text;  # the user's source line; line 0: unknown
  line @16 :Int32;
  predictedSeconds @17 :Float64;  # of one firing
}

struct Read {
  register @0 :Int32;
  every @1 :Int32;  # a version is held for so many firings
}

struct Attr {
  name @0 :Text;
  union {
    integer @1 :Int64;
    number @2 :Float64;
    text @3 :Text;
    integers @4 :List(Int64);
  }
}

# A variable (parts: all copies on all devices) or an output (parts: together hold it once).
struct Tensor {
  name @0 :Text;
  dtype @1 :DType;
  shape @2 :List(Int64);  # logical
  parts @3 :List(Part);
}

struct Part {
  register @0 :Int32;
  offset @1 :List(Int64);
  extent @2 :List(Int64);
  piece @3 :Int32 = -1;  # the piece of the step's batch that the slot holds; -1: not by piece
}

# What the planner promises, so that a run can be held against it.
struct Promise {
  traffic @0 :List(Traffic);
  stepSeconds @1 :Float64;  # no run of the plan is faster
  critical @2 :Text;  # the critical cycle
  peak @3 :List(Int64);  # bytes of live slots at the peak, per device
}

struct Traffic {
  kind @0 :Text;  # "all_reduce"
  axis @1 :Text;  # "dp"
  count @2 :Int64;  # per step
  bytes @3 :Int64;  # per step, received by all devices together
  messages @4 :Int64;  # per step
}
