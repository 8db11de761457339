// Functions that are one: for std::visit.
#pragma once

namespace troupe {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

}  // namespace troupe
