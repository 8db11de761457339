// The parts of the extension module, and what they share.
#pragma once

#include <nanobind/nanobind.h>

#include "runtime/base/attrs.h"
#include "runtime/base/dtype.h"
#include "runtime/base/shape.h"

namespace troupe::python {

namespace nb = nanobind;

void bind_graph(nb::module_& module);
void bind_plan(nb::module_& module);
void bind_backend(nb::module_& module);
void bind_session(nb::module_& module);
void bind_data(nb::module_& module);
void bind_files(nb::module_& module);

// A dict of numbers, texts and lists of integers.
Attrs attrs_from(const nb::dict& dict);

nb::tuple tuple_of(const Dims& dims);

}  // namespace troupe::python
