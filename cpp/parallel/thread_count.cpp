// How many threads: the explicit limit, the environment, the affinity mask, the cgroup.
#include "region.hpp"

#include "cgroup.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace softstep::parallel {
namespace {

std::atomic<int> explicit_limit{0};
// Fixed by initialise(); 0 = not set.
std::atomic<int> environment_limit{0};
std::atomic<const char*> environment_source{""};
std::atomic<int> cgroup_limit{0};

// The leading number of text, 0 when there is none or it is not positive.
int leading_number(std::string_view text, std::string_view& rest) {
  const auto start = text.find_first_not_of(" \t");
  text.remove_prefix(start == std::string_view::npos ? text.size() : start);
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  rest = text.substr(static_cast<std::size_t>(end - text.data()));
  if (error == std::errc::result_out_of_range && text.front() != '-')
    return kMaxThreads;
  return error == std::errc{} && number > 0 ? number : 0;
}

// One system call of 0.4 us: cheap beside a region, so that a change is obeyed at once.
int affinity_count() {
#if defined(__linux__)
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) == 0)
    return std::max(1, CPU_COUNT(&mask));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

struct Count {
  int threads;
  const char* source;
};

Count effective(int explicit_number) {
  Count count{explicit_number, "set_num_threads"};
  const auto at_most = [&count](int threads, const char* source) {
    if (threads > 0 && threads < count.threads)
      count = {threads, source};
  };
  if (count.threads == 0) {
    count = {affinity_count(), "affinity"};
    at_most(cgroup_limit.load(std::memory_order_relaxed), "cgroup");
    // Named as the source also where it asks for just the number that there would be anyway.
    const int environment = environment_limit.load(std::memory_order_relaxed);
    if (environment > 0 && environment <= count.threads)
      count = {environment, environment_source.load(std::memory_order_relaxed)};
  }
  at_most(kMaxThreads, "affinity");
  at_most(detail::backend_max_threads(), detail::backend_name());
  return count;
}

} // namespace

void initialise() {
  std::string_view rest;
  environment_limit = 0;
  if (const char* omp = std::getenv("OMP_NUM_THREADS")) { // may be a list, one number per level
    environment_limit = leading_number(omp, rest);
    environment_source = "OMP_NUM_THREADS";
  }
  if (const char* own = std::getenv("SOFTSTEP_NUM_THREADS"); own != nullptr && *own != '\0') {
    const int number = leading_number(own, rest);
    if (number == 0 || rest.find_first_not_of(" \t") != std::string_view::npos)
      throw std::invalid_argument("SOFTSTEP_NUM_THREADS: expected a whole number >= 1, got \"" +
                                  std::string(own) + "\"");
    environment_limit = number;
    environment_source = "SOFTSTEP_NUM_THREADS";
  }
  cgroup_limit = detail::cgroup_cpus("/sys/fs/cgroup", "/proc/self/cgroup");
}

void set_limit(int n) {
  if (n < 0 || n > kMaxThreads)
    throw std::invalid_argument("n: expected a number of threads from 1 to " +
                                std::to_string(kMaxThreads) + ", got " + std::to_string(n));
  explicit_limit.store(n, std::memory_order_relaxed);
}

int limit() { return explicit_limit.load(std::memory_order_relaxed); }
int num_threads() { return effective(limit()).threads; }
const char* num_threads_source() { return effective(limit()).source; }

} // namespace softstep::parallel

// C symbols by which python/softstep/_threadpoolctl.py finds and limits the threads; they must stay
// visible in the extension module.
#define SOFTSTEP_EXPORT extern "C" __attribute__((visibility("default")))

SOFTSTEP_EXPORT int softstep_get_num_threads();
SOFTSTEP_EXPORT void softstep_set_num_threads(int n);

int softstep_get_num_threads() { return softstep::parallel::num_threads(); }

// threadpoolctl ends a limit by setting the number that it had found, so asking for the automatic
// number is asking for automatic: later changes of the affinity are obeyed again.
void softstep_set_num_threads(int n) {
  using namespace softstep::parallel;
  set_limit(n == effective(0).threads ? 0 : std::clamp(n, 1, kMaxThreads));
}
