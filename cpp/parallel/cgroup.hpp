// The CPU quota of a container.
#pragma once

#include <string>

namespace softstep::parallel::detail {

// The smallest quota (in CPUs, rounded up) on the path from the process's cgroup to the root,
// 0 = none. mount is where cgroup v2 or the v1 hierarchies are mounted, membership the
// process's /proc/self/cgroup.
int cgroup_cpus(const std::string& mount, const std::string& membership);

} // namespace softstep::parallel::detail
