// Runs every kernel of every ISA level of this CPU on the cases of a file, without Python:
//   python -m tests.objects.write_driver_cases cases.bin && softstep_driver cases.bin
// Prints the worst error of each family; exit status 1 if one is beyond its bound.
//
// A new kernel: a function in runners.hpp, its entry below, and its cases in the script.
#include "runners.hpp"

#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>

#if defined(_WIN32)
#include <io.h>
#else
#include <unistd.h>
#endif

namespace {

namespace driver = softstep::driver;

using Run = void (*)(const driver::Case&, driver::Report&);

const std::map<std::string, Run> kFamilies = {
    {"softmax", driver::run_softmax},
    {"softmax_backward", driver::run_softmax_backward},
    {"cross_entropy", driver::run_cross_entropy},
    {"hinge", driver::run_hinge},
    {"squared_error", driver::run_pair},
    {"binary_hinge", driver::run_pair},
    {"sgd", driver::run_sgd},
    {"adamw", driver::run_adamw},
    {"norm", driver::run_norm},
    {"half", driver::run_half},
    {"panel", driver::run_panel},
    {"product", driver::run_product},
    {"transpose", driver::run_transpose},
    {"stream", driver::run_stream},
    {"math", driver::run_math},
};

// What a kernel was doing when it touched a page that it must not, or died of another signal.
char current[400];

void on_signal(int number) {
  const auto say = [](const char* words) {
    return write(2, words, static_cast<unsigned>(std::strlen(words))) > 0;
  };
  if (say("failed: killed by a signal in: ") && say(current))
    say("\n");
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void run(const driver::Case& of, const std::string& isa, driver::Report& report) {
  const auto family = kFamilies.find(of.family);
  if (family == kFamilies.end())
    throw std::runtime_error("no family " + of.family);
  std::snprintf(current, sizeof current, "%s, %s %s, %s", isa.c_str(), of.family.c_str(),
                of.type.c_str(), of.title.c_str());
  report.enter(isa, of);
  family->second(of, report);
}

bool run_all(const std::string& path) {
  const std::vector<driver::Case> cases = driver::read_cases(path);
  driver::Report report;
  for (const std::string& isa : softstep::dispatch::available_isas()) {
    softstep::dispatch::use_isa(isa);
    for (const driver::Case& of : cases)
      run(of, isa, report);
  }
  return report.print();
}

} // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: softstep_driver CASES, a file of write_driver_cases.py\n");
    return 2;
  }
  for (const int number : {SIGSEGV, SIGILL, SIGFPE})
    std::signal(number, on_signal);
#if !defined(_WIN32)
  std::signal(SIGBUS, on_signal);
#endif
  try {
    return run_all(arguments[1]) ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "softstep_driver: %s\n", error.what());
    return 2;
  }
}
