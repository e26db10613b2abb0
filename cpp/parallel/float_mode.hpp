// The floating-point control register of the calling thread. A caller may have set flush-to-zero
// (torch.set_flush_denormal, XLA, a library linked with -ffast-math), and a worker keeps the mode
// of whichever thread created it: without this the bits would depend on who ran a block.
#pragma once

#include <cstdint>

namespace softstep::parallel::detail {

// Restoring the old value also takes back the exception flags that the blocks have raised.
#if defined(__x86_64__) || defined(__i386__)
inline std::uint64_t set_default_float_mode() {
  const unsigned old = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(0x1f80); // all exceptions masked, round to nearest, no FTZ, no DAZ
  return old;
}
inline void restore_float_mode(std::uint64_t old) {
  __builtin_ia32_ldmxcsr(static_cast<unsigned>(old));
}
#elif defined(__aarch64__)
inline std::uint64_t set_default_float_mode() {
  std::uint64_t control, status;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  __asm__ volatile("mrs %0, fpsr" : "=r"(status));
  __asm__ volatile("msr fpcr, %0" : : "r"(std::uint64_t{0}) : "memory");
  return control << 32 | (status & 0xffffffffu);
}
inline void restore_float_mode(std::uint64_t old) {
  __asm__ volatile("msr fpsr, %0" : : "r"(old & 0xffffffffu) : "memory");
  __asm__ volatile("msr fpcr, %0" : : "r"(old >> 32) : "memory");
}
#else
inline std::uint64_t set_default_float_mode() { return 0; }
inline void restore_float_mode(std::uint64_t) {}
#endif

} // namespace softstep::parallel::detail
