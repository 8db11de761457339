// Copies between devices and the memory of their hosts beside what devices compute.
#pragma once

#include "planner/task_graph.h"

namespace troupe {

// Gives copies that `offload` made their places in the order of time, in which `tasks` has just sharded the program. A
// copy to the host ends, and lets go of the memory on the device, about when the tasks before its place have been
// computed; a copy back begins there, early enough to be whole when it is first read, the copies of each way one after
// another. How early and how late is bounded by bytes, and so is the memory that devices need for it: what is on its way
// in one direction at a time is at most an eighth of what a device has the host keep, or two of the largest
// tensors. Of copies that take longer than the computation beside them, devices wait for the rest.
//
// The result is the program in the order of time. Within a turn of a pipeline copies stay in it.
Program hide_copies(const Program& program, const TaskGraph& tasks);

}  // namespace troupe
