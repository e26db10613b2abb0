#include "dispatch/dispatch.hpp"

#include "dispatch/amx.hpp"
#include "dispatch/arm_bf16.hpp"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

namespace softstep {

// CMake's SOFTSTEP_ISAS says which levels were compiled.
#if defined(SOFTSTEP_HAS_x86_64_v2)
namespace x86_64_v2 {
extern const Kernels kernels;
}
#endif
#if defined(SOFTSTEP_HAS_x86_64_v3)
namespace x86_64_v3 {
extern const Kernels kernels;
}
#endif
#if defined(SOFTSTEP_HAS_x86_64_v4)
namespace x86_64_v4 {
extern const Kernels kernels;
}
namespace x86_64_v4_bf16 { // sub-levels: these products, and the other kernels of their level
extern const PairedProductKernels product;
}
namespace x86_64_v4_amx {
extern const PairedProductKernels product;
}
#endif
#if defined(SOFTSTEP_HAS_aarch64)
namespace aarch64 {
extern const Kernels kernels;
}
namespace aarch64_bf16 {
extern const PairedProductKernels product;
}
#endif

namespace dispatch {
namespace {

[[maybe_unused]] Kernels with_product(Kernels kernels, const char* isa,
                                      const PairedProductKernels& product) {
  kernels.isa = isa;
  kernels.paired_product = &product;
  return kernels;
}

#if defined(SOFTSTEP_HAS_x86_64_v4)
void add_sub_levels(std::vector<const Kernels*>& tables) {
  static const Kernels bf16 =
      with_product(x86_64_v4::kernels, "x86_64_v4_bf16", x86_64_v4_bf16::product);
  static const Kernels amx =
      with_product(x86_64_v4::kernels, "x86_64_v4_amx", x86_64_v4_amx::product);
  // Intel's CPUs take VDPBF16PS at a quarter of AMD's rate, half of what multiply-adds do: there it
  // is for tests alone.
  if (__builtin_cpu_supports("avx512bf16") && (has_amx() || !__builtin_cpu_is("intel")))
    tables.push_back(&bf16);
  if (has_amx())
    tables.push_back(&amx);
}
#endif

// __builtin_cpu_supports also asks whether the operating system saves the registers. Every CPU with
// these has the rest of its level; the names of the levels are unknown to Clang before 18.
std::vector<const Kernels*> supported() {
  std::vector<const Kernels*> tables;
#if defined(__x86_64__)
  __builtin_cpu_init();
#endif
#if defined(SOFTSTEP_HAS_x86_64_v2)
  if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"))
    tables.push_back(&x86_64_v2::kernels);
#endif
#if defined(SOFTSTEP_HAS_x86_64_v3)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2"))
    tables.push_back(&x86_64_v3::kernels);
#endif
#if defined(SOFTSTEP_HAS_x86_64_v4)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    tables.push_back(&x86_64_v4::kernels);
  if (!tables.empty() && tables.back() == &x86_64_v4::kernels)
    add_sub_levels(tables);
#endif
#if defined(SOFTSTEP_HAS_aarch64)
  tables.push_back(&aarch64::kernels); // the baseline of every AArch64 CPU
  static const Kernels bf16 = with_product(aarch64::kernels, "aarch64_bf16", aarch64_bf16::product);
  if (has_arm_bf16())
    tables.push_back(&bf16);
#endif
  return tables;
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
    throw std::invalid_argument("this CPU supports none of the ISA levels that softstep was built "
                                "for; it needs x86-64-v2 (SSE4.2) or AArch64");
  active_kernels.store(tables.back(), std::memory_order_release);
  if (const char* isa = std::getenv("SOFTSTEP_ISA")) {
    try {
      use_isa(isa);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(std::string("SOFTSTEP_ISA: ") + error.what());
    }
  }
}

const PairedProductKernels* paired_product() {
  const PairedProductKernels* product = active().paired_product;
#if defined(SOFTSTEP_HAS_x86_64_v4)
  if (product == &x86_64_v4_amx::product && !may_use_amx())
    return nullptr;
#endif
  return product;
}

const Kernels& active() { return *active_kernels.load(std::memory_order_acquire); }

} // namespace dispatch
} // namespace softstep
