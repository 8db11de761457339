// What a process of a run has to know of the others to exchange bytes with them.
#pragma once

#include "actors/engine/control.h"
#include "actors/engine/exchange.h"

namespace troupe {

// Of process `self` of those that the driver welcomes: a worker's index, or, behind them, the driver. `far` is all false
// where all share memory.
ExchangeOptions exchange_options(const Welcome& welcome, int self);

}  // namespace troupe
