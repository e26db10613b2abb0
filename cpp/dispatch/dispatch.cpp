#include "dispatch/dispatch.hpp"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

namespace softstep {

#if defined(__x86_64__)
namespace x86_64_v2 {
extern const Kernels kernels;
}
namespace x86_64_v3 {
extern const Kernels kernels;
}
namespace x86_64_v4 {
extern const Kernels kernels;
}
#elif defined(__aarch64__)
namespace aarch64 {
extern const Kernels kernels;
}
#endif

namespace dispatch {
namespace {

// __builtin_cpu_supports also asks whether the operating system saves the registers.
std::vector<const Kernels*> supported() {
#if defined(__x86_64__)
  std::vector<const Kernels*> tables;
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v2"))
    tables.push_back(&x86_64_v2::kernels);
  if (__builtin_cpu_supports("x86-64-v3"))
    tables.push_back(&x86_64_v3::kernels);
  if (__builtin_cpu_supports("x86-64-v4"))
    tables.push_back(&x86_64_v4::kernels);
  return tables;
#elif defined(__aarch64__)
  return {&aarch64::kernels};
#else
#error "softstep has kernels for x86-64 and AArch64"
#endif
}

std::atomic<const Kernels*> active_kernels{nullptr};

} // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Kernels* kernels : supported())
    names.emplace_back(kernels->isa);
  return names;
}

void use_isa(const std::string& isa) {
  std::string names;
  for (const Kernels* kernels : supported()) {
    if (isa == kernels->isa) {
      active_kernels.store(kernels, std::memory_order_release);
      return;
    }
    names += (names.empty() ? "" : ", ") + std::string(kernels->isa);
  }
  throw std::invalid_argument("expected one of the ISA levels of this CPU (" + names + "), got '" +
                              isa + "'");
}

void initialise() {
  const std::vector<const Kernels*> tables = supported();
  if (tables.empty())
    throw std::invalid_argument("softstep needs a CPU of the level x86-64-v2 (SSE4.2) or later");
  active_kernels.store(tables.back(), std::memory_order_release);
  if (const char* isa = std::getenv("SOFTSTEP_ISA")) {
    try {
      use_isa(isa);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(std::string("SOFTSTEP_ISA: ") + error.what());
    }
  }
}

const Kernels& active() { return *active_kernels.load(std::memory_order_acquire); }

} // namespace dispatch
} // namespace softstep
