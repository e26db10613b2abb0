// C symbols by which python/softstep/_threadpoolctl.py finds and limits the threads. They must
// stay visible in the extension module.
#include "parallel.hpp"

#include <algorithm>

#define SOFTSTEP_EXPORT extern "C" __attribute__((visibility("default")))

SOFTSTEP_EXPORT int softstep_get_num_threads() { return softstep::parallel::num_threads(); }

// 0 = automatic, as is anything below.
SOFTSTEP_EXPORT void softstep_set_num_threads(int n) {
  softstep::parallel::set_limit(std::clamp(n, 0, softstep::parallel::kMaxThreads));
}
