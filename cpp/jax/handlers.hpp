// The operations as XLA calls them, through its foreign function interface: on XLA's threads, with
// buffers of XLA's, without Python. docs/design/0008-jax.md records the choices.
#pragma once

#include "jax/xla_abi.hpp"

namespace softstep::jax {

using Handler = xla::Error* (*)(xla::CallFrame*);

xla::Error* softmax(xla::CallFrame* call);
xla::Error* cross_entropy(xla::CallFrame* call);

} // namespace softstep::jax
