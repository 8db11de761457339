# What processes that share no memory say to each other beside the control messages: a header, which may have the
# bytes of a register behind it. Any bytes may arrive; wire.h says what a reader checks.

@0xd0a1f6b35c2e7a49;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::wire");

struct Header {
  key @0 :UInt64;  # of the run; a message without it is dropped
  from @1 :Int32;  # the process that says it: a worker's index, or the number of workers for the driver
  checksum @2 :UInt64;  # of the bytes behind the header; 0: not computed
  number @11 :UInt64;  # of what one process says to another, from 1
  union {
    notes @3 :Notes;
    fetch @4 :Place;
    fetched @5 :UInt64;  # the request; the bytes follow
    store @6 :Place;  # the bytes follow
    stored @7 :UInt64;  # the request
    refused @8 :Refused;  # a fetch or a store
    beat @9 :UInt64;  # the link lives: the number of the last message that has come
    fence @10 :UInt64;  # of this number; whoever says it has nothing more under way
  }
}

# Messages between task actors, at least one.
struct Notes {
  list @0 :List(Note);
  bytesOf @1 :UInt8;  # the one that bytes behind the header belong to
}

# A message between task actors (runtime/comm/message.h).
struct Note {
  kind @0 :UInt8;
  plan @1 :UInt16;
  epoch @2 :UInt32;
  task @3 :Int32;
  port @4 :Int32;
  register @5 :Int32;
  slot @6 :Int32;
  version @7 :Int64;
  executor @8 :Int32;  # that sends it
}

# Bytes in the memory of the process that is asked.
struct Place {
  request @0 :UInt64;
  plan @1 :UInt16;
  register @2 :Int32;  # -1: of shared memory that the process has open as `file`
  slot @3 :Int32;
  reader @4 :Int32;  # what this task reads of the register; -1: all of it
  file @5 :Int64;
  bytes @6 :Int64;
}

struct Refused {
  request @0 :UInt64;
  why @1 :Text;
}
