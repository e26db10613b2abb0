// AMX: whether CPU and system have it, and the system's leave to use it.
#pragma once

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace softstep::dispatch {

#if defined(__x86_64__) && defined(__linux__)

inline bool has_amx() {
  constexpr unsigned kSavesRegisters = 1u << 27, kTileState = 3u << 17; // OSXSAVE; XCR0
  constexpr unsigned kBf16 = 1u << 22, kTiles = 1u << 24;               // EDX of leaf 7
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & kSavesRegisters))
    return false;
  unsigned low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & kTileState) == kTileState && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
         (d & (kBf16 | kTiles)) == (kBf16 | kTiles);
}

// Asked for at the first product, for the whole process: signal frames of threads that use the
// registers grow by 8 KiB.
inline bool may_use_amx() {
  constexpr long kRequest = 0x1023, kTileData = 18; // ARCH_REQ_XCOMP_PERM
  static const bool granted = syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
  return granted;
}

#else

inline bool has_amx() { return false; }
inline bool may_use_amx() { return false; }

#endif

} // namespace softstep::dispatch
