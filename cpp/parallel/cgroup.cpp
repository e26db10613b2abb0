#include "cgroup.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>

namespace softstep::parallel::detail {
namespace {

int cpus(double quota, double period) {
  if (!(quota > 0) || !(period > 0))
    return 0;
  return static_cast<int>(std::clamp(std::ceil(quota / period), 1.0, 1e6));
}

int quota_v2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max"); // "max 100000" or "150000 100000"
  double quota = 0, period = 0;
  return file >> quota >> period ? cpus(quota, period) : 0;
}

int quota_v1(const std::string& folder) {
  std::ifstream quota_file(folder + "/cpu.cfs_quota_us"); // -1 = none
  std::ifstream period_file(folder + "/cpu.cfs_period_us");
  double quota = 0, period = 0;
  return quota_file >> quota && period_file >> period ? cpus(quota, period) : 0;
}

// A limit may be set at any level. Inside a container without a cgroup namespace the path is
// the host's and only its root exists here, so missing folders are passed over.
template <class Quota> int smallest(const std::string& mount, std::string path, Quota quota) {
  int found = 0;
  for (;;) {
    if (const int here = quota(mount + path); here > 0)
      found = found == 0 ? here : std::min(found, here);
    const auto slash = path.find_last_of('/');
    if (slash == std::string::npos)
      return found;
    path.erase(slash);
  }
}

} // namespace

int cgroup_cpus(const std::string& mount, const std::string& membership) {
  std::ifstream file(membership);
  int found = 0;
  for (std::string line; std::getline(file, line);) { // "id:controllers:/path"; v2 is "0::/path"
    const auto first = line.find(':');
    const auto second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos)
      continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    int here = 0;
    if (controllers == ",,")
      here = smallest(mount, path, quota_v2);
    else if (controllers.find(",cpu,") != std::string::npos)
      here = smallest(mount + "/cpu", path, quota_v1);
    if (here > 0)
      found = found == 0 ? here : std::min(found, here);
  }
  return found;
}

} // namespace softstep::parallel::detail
