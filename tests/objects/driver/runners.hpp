// One function a family: runs a case on the active ISA level in every layout, and compares.
#pragma once

#include "dispatch/dispatch.hpp"
#include "report.hpp"

#include <vector>

namespace softstep::driver {

void run_softmax(const Case& of, Report& report);
void run_softmax_backward(const Case& of, Report& report);
void run_cross_entropy(const Case& of, Report& report);
void run_hinge(const Case& of, Report& report);
void run_pair(const Case& of, Report& report);
void run_sgd(const Case& of, Report& report);
void run_adamw(const Case& of, Report& report);
void run_norm(const Case& of, Report& report);
void run_half(const Case& of, Report& report);
void run_panel(const Case& of, Report& report);
void run_product(const Case& of, Report& report);
void run_transpose(const Case& of, Report& report);
void run_stream(const Case& of, Report& report);
void run_math(const Case& of, Report& report);

// Of a family with a class axis: calls run(layout, in_place) for both shapes: tight, with gaps, in
// place.
// The row shape takes no row shorter than the widest vector, the lane shape no half precision.
template <class T, class Run> void for_each_layout(Size cols, Report& report, Run&& run) {
  constexpr Size kWidestVector = 64 / static_cast<Size>(sizeof(Compute<T>));
  struct Way {
    Size gap;
    bool in_place;
    const char* words;
  };
  for (const Shape shape : {kRowShape, kLaneShape})
    for (const auto [gap, in_place, words] :
         {Way{0, false, ""}, Way{3, false, ", with gaps"}, Way{0, true, ", in place"}}) {
      if (shape == kRowShape ? cols < kWidestVector : !std::is_same_v<T, Compute<T>>)
        continue;
      report.variant(std::string(shape == kRowShape ? "rows" : "lanes") + words);
      run(Layout{shape, gap}, in_place);
    }
}

constexpr Layout kVector = {kRowShape, 0};

} // namespace softstep::driver
