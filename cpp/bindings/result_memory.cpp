#include "bindings/result_memory.hpp"
#include "bindings/arrays.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <dlfcn.h>
#include <sys/mman.h>
#endif

namespace softstep::bindings {

#if defined(__linux__) && defined(MADV_FREE) && defined(MADV_HUGEPAGE)
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kLarge = std::size_t{4} << 20; // from here on NumPy too asks for huge pages
constexpr unsigned kNumpyDomain = 389047;            // of tracemalloc

// Looked up by name: the headers of Python 3.11 declare them as C++.
void trace(const void* data, std::size_t bytes) {
  using Track = int (*)(unsigned, std::uintptr_t, std::size_t);
  static const auto track = reinterpret_cast<Track>(::dlsym(RTLD_DEFAULT, "PyTraceMalloc_Track"));
  if (track)
    track(kNumpyDomain, reinterpret_cast<std::uintptr_t>(data), bytes);
}
void untrace(const void* data) {
  using Untrack = int (*)(unsigned, std::uintptr_t);
  static const auto untrack =
      reinterpret_cast<Untrack>(::dlsym(RTLD_DEFAULT, "PyTraceMalloc_Untrack"));
  if (untrack)
    untrack(kNumpyDomain, reinterpret_cast<std::uintptr_t>(data));
}

struct Block {
  char* data; // aligned to a huge page
  std::size_t bytes;
  char* mapped;
  std::size_t mapped_bytes;
};

// The newest first. Exchanged, never locked: a fork finds no lock held.
constexpr std::size_t kSpares = 2;
std::atomic<Block*> spares[kSpares];

void unmap(Block* block) {
  if (block)
    ::munmap(block->mapped, block->mapped_bytes);
  delete block;
}

void keep(Block* block) {
  // The system may take the pages whenever memory is short; until then they cost no fault. Where it
  // cannot (locked memory), nothing is kept.
  if (::madvise(block->data, block->bytes, MADV_FREE) != 0)
    return unmap(block);
  for (std::atomic<Block*>& spare : spares)
    block = spare.exchange(block);
  unmap(block);
}

Block* spare_of(std::size_t bytes) {
  for (std::atomic<Block*>& spare : spares) {
    Block* block = spare.exchange(nullptr);
    if (block && block->bytes == bytes)
      return block;
    Block* empty = nullptr;
    if (block && !spare.compare_exchange_strong(empty, block))
      unmap(block);
  }
  return nullptr;
}

Block* map(std::size_t bytes) {
  const std::size_t mapped_bytes = bytes + kHugePage;
  void* mapped =
      ::mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED)
    return nullptr;
  auto* start = static_cast<char*>(mapped);
  char* data = start + (kHugePage - reinterpret_cast<std::uintptr_t>(start) % kHugePage);
  ::madvise(data, bytes, MADV_HUGEPAGE);
  return new Block{data, bytes, start, mapped_bytes};
}

void drop(void* dropped) {
  auto* block = static_cast<Block*>(dropped);
  untrace(block->data);
  keep(block);
}

} // namespace

void release_results() {
  for (std::atomic<Block*>& spare : spares)
    unmap(spare.exchange(nullptr));
}

py::array new_array(const std::vector<py::ssize_t>& shape, const py::array& like) {
  auto bytes = static_cast<std::size_t>(like.itemsize());
  for (const py::ssize_t size : shape)
    bytes *= static_cast<std::size_t>(size);
  if (bytes < kLarge)
    return py::array(like.dtype(), shape);
  Block* block = spare_of(bytes);
  if (!block)
    block = map(bytes);
  if (!block)
    return py::array(like.dtype(), shape); // NumPy's MemoryError
  const py::capsule owner(block, drop);
  trace(block->data, bytes);
  return py::array(like.dtype(), shape, {}, block->data, owner);
}

#else

void release_results() {}

py::array new_array(const std::vector<py::ssize_t>& shape, const py::array& like) {
  return py::array(like.dtype(), shape);
}

#endif

} // namespace softstep::bindings
