#include "report.hpp"

#include <cmath>
#include <cstdio>

namespace softstep::driver {
namespace {

constexpr std::size_t kShown = 20;

std::string digits(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

} // namespace

void Report::enter(const std::string& isa, const Case& of) {
  isa_ = isa;
  case_ = &of;
  variant_.clear();
}

void Report::judge(const Place& place, double got, double expected, double bound, Worst& worst) {
  const double error = std::abs(got - expected);
  const double share = bound > 0 ? error / bound : HUGE_VAL;
  const bool holds = error <= bound;
  if (share <= worst.share && holds)
    return;
  const std::string where =
      place.result + "[" + std::to_string(place.row) + ", " + std::to_string(place.col) + "]";
  if (!(share <= worst.share)) { // a NaN is the worst
    worst.share = share;
    worst.where = case_->title + (variant_.empty() ? "" : ", " + variant_) + ", " + where;
  }
  if (!holds)
    fail(where + ": got " + digits(got) + ", expected " + digits(expected) + " within " +
         digits(bound));
}

void Report::fail(const std::string& what) {
  if (++failed_ <= static_cast<std::int64_t>(kShown))
    failures_.push_back(isa_ + ", " + case_->family + " " + case_->type + ", " + case_->title +
                        (variant_.empty() ? "" : ", " + variant_) + ": " + what);
}

bool Report::print() const {
  for (const auto& [key, worst] : worst_) {
    const auto& [isa, family, type] = key;
    std::printf("%-10s %-20s %-9s %9lld values, worst error %.2f of its bound%s%s\n", isa.c_str(),
                family.c_str(), type.c_str(), static_cast<long long>(worst.values), worst.share,
                worst.where.empty() ? "" : ": ", worst.where.c_str());
  }
  std::fflush(stdout);
  for (const std::string& failure : failures_)
    std::fprintf(stderr, "failed: %s\n", failure.c_str());
  if (failed_ > 0)
    std::fprintf(stderr, "%lld failures\n", static_cast<long long>(failed_));
  return failed_ == 0 && !worst_.empty();
}

} // namespace softstep::driver
