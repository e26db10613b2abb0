#if defined(SOFTSTEP_PARALLEL_POOL)
#include "pool_threads.hpp"

#include "parallel.hpp"

#include <array>
#include <pthread.h>
#include <signal.h>
#include <string>
#include <system_error>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

// Only the caller that has the region under way comes here, so nothing needs a lock.
namespace softstep::parallel::detail {
namespace {

std::array<pthread_t, kMaxThreads> threads;
std::size_t count = 0;

#if defined(__linux__)
cpu_set_t current_mask; // of all threads started
#endif

} // namespace

bool start_thread(void (*work)(int), int index) {
  // Signals are for Python's threads: one delivered here would not wake the main thread.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  bool is_started = true;
  try {
    std::thread thread(work, index);
    threads[count++] = thread.native_handle();
#if defined(__linux__)
    pthread_setname_np(thread.native_handle(), ("softstep-" + std::to_string(index)).c_str());
#endif
    thread.detach();
  } catch (const std::system_error&) {
    is_started = false;
  }
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  return is_started;
}

// A thread inherits the mask of the one that starts it, but a later os.sched_setaffinity changes
// the calling thread only. The check is one system call of 0.3 us.
void follow_affinity() {
#if defined(__linux__)
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0 || CPU_EQUAL(&mask, &current_mask))
    return;
  for (std::size_t i = 0; i < count; ++i)
    pthread_setaffinity_np(threads[i], sizeof mask, &mask);
  current_mask = mask;
#endif
}

} // namespace softstep::parallel::detail
#endif
