// Arrays of one shape and any layout, walked together: runs of elements that are adjacent in every
// array, or small copies where there are none.
#pragma once

#include "kernels/kernels.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

namespace softstep::ops {

template <std::size_t N> struct WalkUse {
  std::array<bool, N> read, written;
};

// Dimensions are in the order of memory of the first array, innermost last, joined where every
// array walks both with one stride. Strides are in bytes, multiples of the array's item size; data
// may be misaligned.
template <std::size_t N> class Walk {
public:
  using Pointers = std::array<char*, N>; // null: not part of the problem
  using Strides = std::array<Size, N>;
  using Use = WalkUse<N>;

  Walk() = default;
  Walk(const Pointers& data, const Strides& items) : data_(data), items_(items) {
    for (std::size_t k = 0; k < N; ++k)
      if (!data_[k])
        items_[k] = 0;
  }

  // Dimensions may come in any order. Strides of absent arrays are not looked at.
  void add_dimension(Size size, Strides strides) {
    size_ *= size;
    if (size <= 1)
      return;
    for (std::size_t k = 0; k < N; ++k)
      if (!data_[k])
        strides[k] = 0;
    const auto first = std::find_if(strides.begin(), strides.end(), [](Size s) { return s != 0; });
    if (first != strides.end() && *first < 0) {
      for (std::size_t k = 0; k < N; ++k) {
        if (data_[k])
          data_[k] += (size - 1) * strides[k];
        strides[k] = -strides[k];
      }
    }
    dimensions_.push_back({size, strides});
  }

  // After the last dimension.
  void coalesce() {
    if (size_ == 0)
      dimensions_.clear();
    if (dimensions_.size() > 1)
      std::stable_sort(dimensions_.begin(), dimensions_.end(), slower);
    std::size_t kept = 0;
    for (std::size_t d = 1; d < dimensions_.size(); ++d) {
      Dimension& outer = dimensions_[kept];
      const Dimension& inner = dimensions_[d];
      if (joins(outer, inner))
        outer = {outer.size * inner.size, inner.strides};
      else
        dimensions_[++kept] = inner;
    }
    dimensions_.resize(std::min(dimensions_.size(), kept + 1));
    if (dimensions_.empty())
      dimensions_.push_back({size_, items_});
    const bool adjacent = dimensions_.back().strides == items_;
    direct_ = adjacent && (dimensions_.size() == 1 || dimensions_.back().size >= kShortRun);
  }

  // The same layout, elsewhere.
  void move(std::size_t k, std::ptrdiff_t bytes) { data_[k] += bytes; }

  Size size() const { return size_; }

  // Calls run(pointers, begin, n) for adjacent runs that cover [begin, end) once: the arrays
  // themselves where runs are long enough, else copies of what is read, copied back where written.
  template <class Run> void run(Size begin, Size end, const Use& use, Run&& run) const {
    if (direct_ && dimensions_.size() == 1) {
      Pointers at;
      for (std::size_t k = 0; k < N; ++k)
        at[k] = data_[k] + begin * items_[k];
      run(std::as_const(at), begin, end - begin);
    } else if (direct_) {
      walk(begin, end, [&](const Pointers& at, Size done, Size n) { run(at, begin + done, n); });
    } else {
      for (Size at = begin; at < end; at += kStageElements)
        run_staged(at, std::min(end, at + kStageElements), use, run);
    }
  }

private:
  static constexpr Size kStageElements = 512;
  static constexpr Size kShortRun = 64; // shorter ones cost more kernel calls than copies
  static constexpr std::size_t kMaxDimensions = 64; // NumPy's

  struct Dimension {
    Size size;
    Strides strides;
  };

  static bool slower(const Dimension& a, const Dimension& b) {
    for (std::size_t k = 0; k < N; ++k) {
      const Size left = std::abs(a.strides[k]), right = std::abs(b.strides[k]);
      if (left != right)
        return left > right;
    }
    return false;
  }
  static bool joins(const Dimension& outer, const Dimension& inner) {
    for (std::size_t k = 0; k < N; ++k)
      if (outer.strides[k] != inner.strides[k] * inner.size)
        return false;
    return true;
  }

  // Calls visit(pointers, done, n) for the parts of [begin, end) inside one innermost dimension.
  template <class Visit> void walk(Size begin, Size end, Visit&& visit) const {
    std::array<Size, kMaxDimensions> index;
    Pointers at = data_;
    const auto advance = [&](const Dimension& dimension, Size steps) {
      for (std::size_t k = 0; k < N; ++k)
        at[k] += steps * dimension.strides[k];
    };
    const std::size_t last = dimensions_.size() - 1;
    Size rest = begin;
    for (std::size_t d = last + 1; d-- > 0; rest /= dimensions_[d].size) {
      index[d] = rest % dimensions_[d].size;
      advance(dimensions_[d], index[d]);
    }
    for (Size done = begin; done < end;) {
      const Size n = std::min(end - done, dimensions_[last].size - index[last]);
      visit(std::as_const(at), done - begin, n);
      done += n;
      index[last] += n;
      advance(dimensions_[last], n);
      for (std::size_t d = last; d > 0 && index[d] == dimensions_[d].size; --d) {
        advance(dimensions_[d], -index[d]);
        index[d] = 0;
        advance(dimensions_[d - 1], 1);
        ++index[d - 1];
      }
    }
  }

  template <class Run> void run_staged(Size begin, Size end, const Use& use, Run&& run) const {
    alignas(64) char stage[N][kStageElements * sizeof(double)];
    Pointers staged{};
    for (std::size_t k = 0; k < N; ++k)
      staged[k] = data_[k] ? stage[k] : nullptr;
    const auto copy = [&](bool back) {
      walk(begin, end, [&](const Pointers& at, Size done, Size n) {
        for (std::size_t k = 0; k < N; ++k) {
          if (!data_[k] || !(back ? use.written : use.read)[k])
            continue;
          char* tile = staged[k] + done * items_[k];
          const Size stride = dimensions_.back().strides[k];
          back ? copy_items(items_[k], at[k], stride, tile, items_[k], n)
               : copy_items(items_[k], tile, items_[k], at[k], stride, n);
        }
      });
    };
    copy(false);
    run(std::as_const(staged), begin, end - begin);
    copy(true);
  }

  static void copy_items(Size item, char* to, Size to_stride, const char* from, Size from_stride,
                         Size n) {
    if (item == 4)
      copy_strided<4>(to, to_stride, from, from_stride, n);
    else if (item == 8)
      copy_strided<8>(to, to_stride, from, from_stride, n);
    else
      copy_strided<2>(to, to_stride, from, from_stride, n);
  }
  // memcpy, because the elements may be misaligned.
  template <std::size_t kItem>
  static void copy_strided(char* to, Size to_stride, const char* from, Size from_stride, Size n) {
    for (Size i = 0; i < n; ++i)
      std::memcpy(to + i * to_stride, from + i * from_stride, kItem);
  }

  Pointers data_{};
  Strides items_{};
  Size size_ = 1;
  bool direct_ = false;
  std::vector<Dimension> dimensions_;
};

} // namespace softstep::ops
