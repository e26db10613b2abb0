// What was compared: the worst error of each family, and every failure by name.
#pragma once

#include "memory.hpp"

#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace softstep::driver {

class Report {
public:
  // What the following comparisons are about.
  void enter(const std::string& isa, const Case& of);
  void variant(std::string words) { variant_ = std::move(words); }

  // Compares one result, if the case expects it.
  template <class T> void compare(const std::string& name, const Placed<T>& result) {
    compare_values(name, smallest_normal<T>(), [&](Size r, Size c) { return result.value(r, c); });
    require(result.surroundings_untouched(), name + ": elements beside it were written");
  }
  void compare(const std::string& name, double result) {
    compare_values(name, 0, [=](Size, Size) { return result; });
  }
  void require(bool holds, const std::string& what) {
    if (!holds)
      fail(what);
  }

  // Writes the table; whether all held.
  bool print() const;

private:
  struct Worst {
    std::int64_t values = 0;
    double share = 0; // of the bound
    std::string where;
  };

  struct Place {
    const std::string& result;
    Size row, col;
  };

  const Case* case_ = nullptr;
  std::string isa_, variant_;
  std::map<std::tuple<std::string, std::string, std::string>, Worst> worst_;
  std::vector<std::string> failures_;
  std::int64_t failed_ = 0;

  template <class T> static double smallest_normal() {
    if constexpr (std::is_integral_v<T>)
      return 0;
    else
      return static_cast<double>(std::numeric_limits<Compute<T>>::min());
  }

  template <class At> void compare_values(const std::string& name, double tiny, At at) {
    const Expectation* expected = case_->expects(name);
    if (!expected)
      return;
    Worst& worst = worst_[{isa_, case_->family, case_->type}];
    std::size_t k = 0;
    for (Size r = 0; r < expected->rows; ++r)
      for (Size c = 0; c < expected->cols; ++c, ++k) {
        const double got = at(r, c), wanted = expected->values[k];
        ++worst.values;
        if (got != wanted && !(std::isnan(got) && std::isnan(wanted)))
          judge({name, r, c}, got, wanted, expected->bounds[k] + tiny, worst);
      }
  }
  void judge(const Place& place, double got, double expected, double bound, Worst& worst);
  void fail(const std::string& what);
};

} // namespace softstep::driver
