// Lets other Python threads run while a kernel does.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <thread>

namespace softstep::bindings {

// As py::gil_scoped_release, except at exit: before Python 3.14 a daemon thread that asks for the
// GIL of an interpreter that is shutting down is ended by unwinding its stack, and a destructor
// that is unwound ends the process ("terminate called without an active exception"). Such a thread
// waits for the end of the process instead, as in Python 3.14.
class GilReleased {
public:
  GilReleased() : state_(PyEval_SaveThread()) {}
  ~GilReleased() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      for (;;)
        std::this_thread::sleep_for(std::chrono::hours(1));
    }
  }
  GilReleased(const GilReleased&) = delete;
  GilReleased& operator=(const GilReleased&) = delete;

private:
  PyThreadState* state_;
};

} // namespace softstep::bindings
