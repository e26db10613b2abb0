// Class targets: read once, checked, and used only as the checked copy, so that a target that
// another thread changes meanwhile can never address memory.
#pragma once

#include "kernels/kernels.hpp"
#include "ops/cost.hpp"
#include "parallel/parallel.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace softstep::ops {

struct BadTarget {
  Size row = -1; // none
  std::string value;
};

// One target: its class, or kIgnoredRow for ignore_index, or nothing for what is neither.
template <class Integer>
std::optional<std::int32_t> checked_target(Integer target, Size cols, std::int64_t ignore_index) {
  // A uint64 beyond int64 is negative here: out of range either way, and never ignore_index.
  const auto value = static_cast<std::int64_t>(target);
  if (value == ignore_index && (value < 0) == (target < Integer{0}))
    return kIgnoredRow;
  if (static_cast<std::uint64_t>(value) >= static_cast<std::uint64_t>(cols))
    return std::nullopt;
  return static_cast<std::int32_t>(value);
}

// Copies `rows` targets of any integer type; those equal to ignore_index become kIgnoredRow.
// Returns the first that is neither that nor a class, with the value that was read.
template <class Integer>
BadTarget check_targets(std::int32_t* checked, const Integer* targets, Size rows, Size cols,
                        std::int64_t ignore_index) {
  constexpr Size kBlock = 16384;
  const Size blocks = (rows + kBlock - 1) / kBlock;
  std::vector<BadTarget> bad(static_cast<std::size_t>(blocks));
  parallel::for_each_block(
      blocks, kTargetNs * static_cast<double>(rows), [&](std::int64_t block, int) {
        BadTarget& first_bad = bad[static_cast<std::size_t>(block)];
        for (Size row = block * kBlock; row < std::min(rows, (block + 1) * kBlock); ++row) {
          const Integer target = const_cast<const volatile Integer*>(targets)[row];
          const auto value = checked_target(target, cols, ignore_index);
          if (!value) {
            first_bad = {row, std::to_string(target)};
            return;
          }
          checked[row] = *value;
        }
      });
  for (const BadTarget& candidate : bad)
    if (candidate.row >= 0)
      return candidate;
  return {};
}

} // namespace softstep::ops
