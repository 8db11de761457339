// What the processes of one run show each other when the connections between them are encrypted.
#pragma once

#include <string>

namespace troupe {

// All processes of a run have the same: whoever has it belongs to the run. Both in PEM, the key without a passphrase.
struct TlsIdentity {
  std::string certificate;
  std::string key;
};

// A new key, and a certificate of it that is valid between these seconds from now: by default from yesterday, as the
// clocks of hosts differ, and for ten years, longer than a run lives.
TlsIdentity make_tls_identity(long from_s = -86'400, long until_s = 315'360'000);

}  // namespace troupe
