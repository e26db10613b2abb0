// The operations as XLA calls them, through its foreign function interface: on XLA's threads, with
// buffers of XLA's, without Python. docs/design/0008-jax.md records the choices.
#pragma once

#include <vector>

struct XLA_FFI_CallFrame;
struct XLA_FFI_Error;

namespace softstep::jax {

using Handler = XLA_FFI_Error* (*)(XLA_FFI_CallFrame*);

XLA_FFI_Error* softmax(XLA_FFI_CallFrame* call);
XLA_FFI_Error* cross_entropy(XLA_FFI_CallFrame* call);

} // namespace softstep::jax
