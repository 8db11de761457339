#include "actors/engine/exchange_options.h"

namespace troupe {

ExchangeOptions exchange_options(const Welcome& welcome, int self) {
  ExchangeOptions options;
  options.self = self;
  options.key = welcome.key;
  options.names = welcome.names;
  options.checksums = welcome.checksums;
  options.patience_s = link_patience(welcome.beat_s);
  const bool near = welcome.near.at(static_cast<size_t>(self)) != 0;
  for (int p = 0; p < static_cast<int>(welcome.near.size()); ++p) {
    options.far.push_back(p != self && !(near && welcome.near[static_cast<size_t>(p)] != 0));
  }
  for (size_t w = 0; w < welcome.workers.size(); ++w) {
    const auto executors = static_cast<size_t>(welcome.workers[w].executors);
    options.process_of.insert(options.process_of.end(), executors, static_cast<int>(w));
  }
  return options;
}

}  // namespace troupe
