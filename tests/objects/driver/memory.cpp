#include "memory.hpp"

#include <map>
#include <new>
#include <vector>

#if defined(_WIN32)
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace softstep::driver {
namespace {

// Mapped before, by size: under emulation a map costs more than the kernels.
std::map<std::size_t, std::vector<unsigned char*>> spare;

#if defined(_WIN32)

std::size_t page_size() {
  SYSTEM_INFO info;
  GetSystemInfo(&info);
  return info.dwPageSize;
}

unsigned char* map_pages(std::size_t usable) {
  void* reserved = VirtualAlloc(nullptr, usable + page_size(), MEM_RESERVE, PAGE_NOACCESS);
  if (!reserved || !VirtualAlloc(reserved, usable, MEM_COMMIT, PAGE_READWRITE))
    throw std::bad_alloc();
  return static_cast<unsigned char*>(reserved);
}

#else

std::size_t page_size() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

unsigned char* map_pages(std::size_t usable) {
  void* mapped = mmap(nullptr, usable + page_size(), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED)
    throw std::bad_alloc();
  auto* begin = static_cast<unsigned char*>(mapped);
  if (mprotect(begin + usable, page_size(), PROT_NONE) != 0)
    throw std::bad_alloc();
  return begin;
}

#endif

} // namespace

Pages::Pages(std::size_t size) {
  const std::size_t usable = (size / page_size() + 1) * page_size();
  std::vector<unsigned char*>& free = spare[usable];
  if (free.empty())
    free.push_back(map_pages(usable));
  begin_ = free.back();
  end_ = begin_ + usable;
  free.pop_back();
}

Pages::~Pages() { spare[static_cast<std::size_t>(end_ - begin_)].push_back(begin_); }

} // namespace softstep::driver
