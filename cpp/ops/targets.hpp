// Class targets: read once, checked, and used only as the checked copy, so that a target that
// another thread changes meanwhile can never address memory.
#pragma once

#include "kernels/kernels.hpp"
#include "ops/cost.hpp"
#include "parallel/parallel.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace softstep::ops {

struct BadTarget {
  Size row = -1; // none
  std::string value;
};

namespace detail {

// A uint64 beyond int64 is negative here: out of range, and never ignore_index.
template <class Integer> bool is_ignored(Integer target, std::int64_t ignore_index) {
  const auto value = static_cast<std::int64_t>(target);
  return value == ignore_index && (value < 0) == (target < Integer{0});
}
template <class Integer> bool is_class(Integer target, Size cols) {
  return static_cast<std::uint64_t>(target) < static_cast<std::uint64_t>(cols);
}

// Without branches, so that it vectorises. False: there is a bad target among them.
template <class Integer>
bool copy_targets(std::int32_t* checked, const Integer* targets, Size n, Size cols,
                  std::int64_t ignore_index) {
  bool good = true;
  for (Size i = 0; i < n; ++i) {
    const bool ignored = is_ignored(targets[i], ignore_index);
    good &= ignored | is_class(targets[i], cols);
    checked[i] = ignored ? kIgnoredRow : static_cast<std::int32_t>(targets[i]);
  }
  return good;
}

} // namespace detail

// One target: its class, or kIgnoredRow for ignore_index, or nothing for what is neither.
template <class Integer>
std::optional<std::int32_t> checked_target(Integer target, Size cols, std::int64_t ignore_index) {
  if (detail::is_ignored(target, ignore_index))
    return kIgnoredRow;
  if (!detail::is_class(target, cols))
    return std::nullopt;
  return static_cast<std::int32_t>(target);
}

// Copies `rows` targets of any integer type; those equal to ignore_index become kIgnoredRow.
// Returns the first that is neither that nor a class, with the value that was read. The threads are
// those that the kernel afterwards is worth: woken now, they are there when it starts.
template <class Integer>
BadTarget check_targets(std::int32_t* checked, const Integer* targets, Size rows, Size cols,
                        std::int64_t ignore_index) {
  constexpr Size kBlock = 16384, kChunk = 512;
  const Size blocks = (rows + kBlock - 1) / kBlock;
  std::vector<BadTarget> bad(static_cast<std::size_t>(blocks));
  parallel::for_each_block(
      blocks, static_cast<double>(rows) * (kTargetNs + kRowElementNs * static_cast<double>(cols)),
      [&](std::int64_t block, int) {
        const Size end = std::min<Size>(rows, (block + 1) * kBlock);
        for (Size row = block * kBlock; row < end; row += kChunk) {
          const Size n = std::min(kChunk, end - row);
          Integer read[kChunk]; // what is checked is what is used
          std::memcpy(read, targets + row, static_cast<std::size_t>(n) * sizeof(Integer));
          if (detail::copy_targets(checked + row, read, n, cols, ignore_index))
            continue;
          Size i = 0;
          while (detail::is_ignored(read[i], ignore_index) || detail::is_class(read[i], cols))
            ++i;
          bad[static_cast<std::size_t>(block)] = {row + i, std::to_string(read[i])};
          return;
        }
      });
  for (const BadTarget& candidate : bad)
    if (candidate.row >= 0)
      return candidate;
  return {};
}

} // namespace softstep::ops
