// Class targets of any integer dtype and layout, checked against the number of classes.
#pragma once

#include "bindings/arrays.hpp"

#include <cstdint>
#include <memory>
#include <optional>

namespace softstep::bindings {

// Checked copies of the targets, one per row. Throws IndexError for the first bad one.
// Without an ignore_index every target must be a class.
std::unique_ptr<std::int32_t[]> checked_targets(const py::array& target,
                                                std::optional<std::int64_t> ignore_index,
                                                py::ssize_t classes);

bool has_integer_dtype(const py::array& array);

} // namespace softstep::bindings
