// Backend "serial": no threads at all, for platforms without them and for debugging.
#if defined(SOFTSTEP_PARALLEL_SERIAL)
#include "region.hpp"

namespace softstep::parallel::detail {

void run_on_threads(int, Region& region) { // never reached: there is never more than one thread
  const WorkerScope scope;
  region.run(0, region.blocks, 0);
}

int backend_max_threads() { return 1; }
const char* backend_name() { return "serial"; }

} // namespace softstep::parallel::detail
#endif
