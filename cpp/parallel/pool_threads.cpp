#if defined(SOFTSTEP_PARALLEL_POOL)
#include "pool_threads.hpp"

#include "parallel.hpp"

#include <array>
#include <string>
#include <system_error>
#include <thread>

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

// Only the caller that has the region under way comes here, so nothing needs a lock.
namespace softstep::parallel::detail {
namespace {

std::array<std::thread::native_handle_type, kMaxThreads> threads;
std::size_t count = 0;

#if defined(__linux__)
cpu_set_t current_mask; // of all threads started
#endif

// Signals are for Python's threads: one delivered to ours would not wake the main thread. A thread
// inherits the mask of the one that starts it. Windows has no signals of threads.
class SignalsBlocked {
public:
#if defined(_WIN32)
  SignalsBlocked() {}
#else
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &former_, nullptr); }
#endif
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

private:
#if !defined(_WIN32)
  sigset_t former_;
#endif
};

} // namespace

bool start_thread(void (*work)(int), int index) {
  const SignalsBlocked blocked;
  try {
    std::thread thread(work, index);
    threads[count++] = thread.native_handle();
#if defined(__linux__)
    pthread_setname_np(thread.native_handle(), ("softstep-" + std::to_string(index)).c_str());
#endif
    thread.detach();
    return true;
  } catch (const std::system_error&) {
    return false;
  }
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
