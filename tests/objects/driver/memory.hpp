// Arrays as kernels take them, in memory that shows what was read or written beside them.
#pragma once

#include "case_file.hpp"
#include "storage.hpp"

#include <cstring>
#include <memory>
#include <stdexcept>
#include <utility>

namespace softstep::driver {

// Pages that end at a page which must not be touched.
class Pages {
public:
  explicit Pages(std::size_t size);
  ~Pages();
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  unsigned char* begin() const { return begin_; }
  unsigned char* end() const { return end_; }

private:
  unsigned char *begin_, *end_;
};

// How a matrix lies in memory: its shape, and elements between one line of it and the next.
struct Layout {
  Shape shape;
  Size gap;
};

// A matrix of rows x cols. Its last element lies against the forbidden page; every element of its
// pages that is not its own holds guard<T>().
template <class T> class Placed {
public:
  Placed(Size rows, Size cols, Layout layout)
      : rows_(rows), cols_(cols), by_row_(layout.shape == kRowShape),
        stride_((by_row_ ? cols : rows) + layout.gap), lines_(by_row_ ? rows : cols),
        pages_(static_cast<std::size_t>(lines_ * stride_) * sizeof(T)),
        data_(reinterpret_cast<T*>(pages_.end()) - (lines_ * stride_ - layout.gap)) {
    for (T* at = reinterpret_cast<T*>(pages_.begin()); at != end(); ++at)
      *at = guard<T>();
  }
  Placed(const Array& values, Layout layout) : Placed(values.rows, values.cols, layout) {
    if (values.type != name_of<T>())
      throw std::runtime_error("expected an array of " + std::string(name_of<T>()) + ", got " +
                               values.type);
    for (Size r = 0; r < rows_; ++r)
      for (Size c = 0; c < cols_; ++c)
        std::memcpy(at(r, c),
                    values.bytes.data() + static_cast<std::size_t>(r * cols_ + c) * sizeof(T),
                    sizeof(T));
  }

  T* data() const { return data_; }
  Matrix<T> matrix() const { return {data_, stride_}; }
  Matrix<const T> input() const { return {data_, stride_}; }
  double value(Size r, Size c) const { return widened(*at(r, c)); }

  bool surroundings_untouched() const {
    const Size own = by_row_ ? cols_ : rows_;
    for (const T* p = reinterpret_cast<const T*>(pages_.begin()); p != data_; ++p)
      if (!is_guard(*p))
        return false;
    for (Size line = 0; line + 1 < lines_; ++line)
      for (Size gap = own; gap < stride_; ++gap)
        if (!is_guard(data_[line * stride_ + gap]))
          return false;
    return true;
  }

private:
  Size rows_, cols_;
  bool by_row_;
  Size stride_, lines_;
  Pages pages_;
  T* data_;

  T* end() const { return reinterpret_cast<T*>(pages_.end()); }
  T* at(Size r, Size c) const { return data_ + (by_row_ ? r * stride_ + c : c * stride_ + r); }
};

// Contiguous arrays that a case may lack.
template <class T> class Optional {
public:
  explicit Optional(const Array* values) {
    if (values)
      placed_ = std::make_unique<Placed<T>>(*values, Layout{kRowShape, 0});
  }
  T* data() const { return placed_ ? placed_->data() : nullptr; }

private:
  std::unique_ptr<Placed<T>> placed_;
};

} // namespace softstep::driver
