"""The inputs and checks of PyTorch's own operator tests (`op_db`), with our functions as operators.

Of test_ops, test_ops_gradients, test_ops_fwd_gradients and functorch's test_ops: what their checks
need is in the package, `torch.testing._internal`. Not here: the checks of what these operators have
not got, in place and out= variants, references in Python, other devices, nested tensors, sparse
layouts and complex numbers; `test_cow_input` (a NumPy view of a copy-on-write tensor makes it a
copy); operators of losses that softstep.torch does not have; the variants of the linear head in
chunks, which have the inputs of the one without and an option that has no meaning here.
"""

import warnings
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # PyTorch's helpers import it
from softstep.torch._tensors import wide_dtype  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal import common_utils, composite_compliance

from tests.torch.op_db import (  # noqa: E402
    CPU,
    by_tensors,
    every_operator,
    few,
    gradients,
    operators,
    samples,
)

# Of PyTorch itself: rules for tangents that are scripts, legacy rules that are loops.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit"),
    pytest.mark.filterwarnings("ignore:There is a performance drop"),
    pytest.mark.filterwarnings("ignore:Casting complex values to real"),
    pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental"),
]

# What PyTorch refuses, and the reason why it is no error here.
ACCEPTED = {
    "ignore_index cannot be specified when target contains probabilities": (
        "an index has no meaning for probabilities, as in softstep.cross_entropy"
    )
}


@every_operator
def test_values(info: Any) -> None:
    """As test_compare_cpu and test_dtypes, in each dtype that it has."""
    for dtype in info.dtypes:
        if dtype.is_complex and info.name == "logsumexp":
            continue
        for sample in samples(info, dtype, grad=dtype.is_floating_point):
            result = info.op(sample.input, *sample.args, **sample.kwargs)
            expected = info.theirs(sample.input, *sample.args, **sample.kwargs)
            eps = 1e-6
            if dtype.is_floating_point:  # exp(x - lse) has the error of its argument
                size = float(sample.input.detach().abs().max()) if sample.input.numel() else 0.0
                eps = 32 * torch.finfo(dtype).eps * (1 + size)
            assert result.shape == expected.shape
            half_loss = "cross_entropy" in info.name and wide_dtype(dtype) != dtype
            assert result.dtype == (torch.float32 if half_loss else expected.dtype)
            torch.testing.assert_close(
                result, expected.to(result.dtype), rtol=eps, atol=eps, equal_nan=True
            )
            if not (dtype.is_floating_point and result.requires_grad):
                continue
            for a, b in zip(gradients(result, sample), gradients(expected, sample), strict=True):
                torch.testing.assert_close(a, b, rtol=eps, atol=eps, equal_nan=True)


@every_operator
def test_refuses_other_dtypes(info: Any) -> None:
    """As test_dtypes: TypeError, but integers where PyTorch converts them."""
    every = {torch.int8, torch.int64, torch.uint8, torch.bool, torch.complex64, torch.complex128}
    for dtype in every - info.dtypes:
        x = torch.ones(3, 3, dtype=dtype)
        arguments = (x, torch.zeros(3, dtype=torch.long)) if "linear" in info.name else (x,)
        with pytest.raises(TypeError, match="input: expected"):
            info.op(*arguments, torch.zeros(3, dtype=torch.long) if "cross" in info.name else 0)


@every_operator
def test_gradients(info: Any) -> None:
    """As test_fn_grad: against finite differences, batched, with undefined gradients."""
    gradient_tests()._check_helper(CPU, torch.float64, few(info), info.op, "gradcheck")


@every_operator
def test_forward_mode(info: Any) -> None:
    """As test_forward_mode_AD."""
    gradient_tests()._check_helper(
        CPU, torch.float64, few(info), info.op, "gradcheck",
        check_forward_ad=True, check_backward_ad=False,
        check_batched_grad=False, check_batched_forward_grad=True,
    )  # fmt: skip


@every_operator
@pytest.mark.parametrize("order", ["bwgrad_bwgrad", "fwgrad_bwgrad"])
def test_second_order(info: Any, order: str) -> None:
    """As test_fn_gradgrad and test_fn_fwgrad_bwgrad."""
    gradient_tests()._check_helper(CPU, torch.float64, few(info), info.op, order)


def gradient_tests() -> Any:
    return common_utils.TestGradients()


@every_operator
def test_composite_compliance(info: Any) -> None:
    """As test_operator, test_backward and test_forward_ad of TestCompositeCompliance.

    A sample of many tensors has many combinations of them that are subclasses.
    """
    for sample in samples(info, most=4):
        args, kwargs = (sample.input, *sample.args), sample.kwargs
        composite_compliance.check_with_mode(info.op, args, kwargs, assert_close)
        composite_compliance.check_all_permutations(info.op, args, kwargs, assert_close)
        common = (info.op, args, kwargs, sample.output_process_fn_grad)
        composite_compliance.check_backward_formula(*common, info.gradcheck_wrapper, assert_close)
        composite_compliance.check_forward_ad_formula(
            info.op, args, kwargs, info.gradcheck_wrapper, assert_close
        )


def assert_close(actual: Any, expected: Any, **_: Any) -> None:
    torch.testing.assert_close(actual, expected, equal_nan=True)


@every_operator
def test_negative_and_non_contiguous_views(info: Any) -> None:
    """As test_neg_view and test_noncontiguous_samples."""
    for sample in samples(info):
        expected = info.op(sample.input, *sample.args, **sample.kwargs)
        right = gradients(expected, sample)
        for other in (
            sample.transform(lambda t: negative(t) if torch.is_tensor(t) else t),
            sample.noncontiguous(),
        ):
            result = info.op(other.input, *other.args, **other.kwargs)
            torch.testing.assert_close(result, expected)
            for a, b in zip(gradients(result, other), right, strict=True):
                torch.testing.assert_close(a, b)


def negative(t: Any) -> Any:
    if not t.is_floating_point():
        return t
    return torch._neg_view(-t.detach()).requires_grad_(t.requires_grad)


@every_operator
def test_inputs_are_left_alone(info: Any) -> None:
    for sample in samples(info):
        tensors = [t for t in (sample.input, *sample.args) if torch.is_tensor(t)]
        before = [(t.detach().clone(), t._version) for t in tensors]
        gradients(info.op(sample.input, *sample.args, **sample.kwargs), sample)
        for t, (values, version) in zip(tensors, before, strict=True):
            assert torch.equal(t, values) and t._version == version


@every_operator
def test_errors(info: Any) -> None:
    """As test_errors, whose messages are PyTorch's."""
    if info.error_inputs_func is None:
        return
    for error in info.error_inputs(CPU):
        given = error.sample_input
        if error.error_regex in ACCEPTED:
            assert info.op(given.input, *given.args, **given.kwargs).isfinite()
            continue
        with pytest.raises((RuntimeError, ValueError, TypeError, IndexError), match="expected"):
            info.op(given.input, *given.args, **given.kwargs)


@pytest.mark.skipif(not hasattr(torch.nn.functional, "linear_cross_entropy"), reason="has no head")
def test_nothing_is_accepted_that_no_longer_comes() -> None:
    infos = [p.values[0] for p in operators()]
    every = [i.error_inputs(CPU) for i in infos if i.error_inputs_func is not None]
    assert ACCEPTED.keys() <= {error.error_regex for errors in every for error in errors}


@every_operator
def test_fake_tensors(info: Any) -> None:
    """As test_fake and test_fake_crossref_backward: shapes, dtypes and strides."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    for sample in samples(info):
        expected = info.op(sample.input, *sample.args, **sample.kwargs)
        right = gradients(expected, sample)
        with FakeTensorMode() as mode:
            fake = sample.transform(
                lambda t, m=mode: m.from_tensor(t) if torch.is_tensor(t) else t  # type: ignore[misc]
            )
            result = info.op(fake.input, *fake.args, **fake.kwargs)
            found = gradients(result, fake)
        for a, b in zip((result, *found), (expected, *right), strict=True):
            assert (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device)


@every_operator
def test_traces(info: Any) -> None:
    """As test_variant_consistency_jit: torch.jit.trace, make_fx and functionalize."""
    from torch.fx.experimental.proxy_tensor import make_fx

    for sample in samples(info)[::3]:
        f, tensors = by_tensors(info.op, sample)
        others = [t + 0.5 for t in tensors]
        expected = f(*others)
        for traced in (
            torch.jit.trace(f, tuple(tensors)),
            make_fx(f)(*tensors),
            make_fx(f, tracing_mode="fake", _allow_non_fake_inputs=True)(*tensors),
            torch.func.functionalize(f),
        ):
            torch.testing.assert_close(traced(*others), expected, equal_nan=True)


def cotangent(result: Any) -> Any:
    return (torch.arange(result.numel(), dtype=result.dtype) + 1).cos().reshape(result.shape)


def vjp(f: Callable[..., Any]) -> Callable[..., Any]:
    def g(*tensors: Any) -> Any:
        result, pullback = torch.func.vjp(f, *tensors)
        return pullback(cotangent(result))

    return g


def jvp(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *tensors: torch.func.jvp(f, tensors, tuple(t.cos() for t in tensors))


def vmap(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *tensors: torch.vmap(f)(*(torch.stack([t, 2 * t, t.cos()]) for t in tensors))


def vmap_of_the_first(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, *others: torch.vmap(f, (x.ndim, *(None,) * len(others)))(
        torch.stack([x, 2 * x], -1), *others
    )


TRANSFORMS: dict[str, Callable[..., Any]] = {
    "vjp": vjp,
    "jvp": jvp,
    "vmap": vmap,
    "vmap, one of them": vmap_of_the_first,
    "vmapvjp": lambda f: vmap(vjp(f)),
    "vmapjvp": lambda f: vmap(jvp(f)),
    "vjpvmap": lambda f: vjp(vmap(f)),
    "vjpvjp": lambda f: vjp(lambda *t: vjp(f)(*t)[0]),
    "jvpvjp": lambda f: jvp(lambda *t: vjp(f)(*t)[0]),
    "vmapvjpvjp": lambda f: vmap(vjp(lambda *t: vjp(f)(*t)[0])),
    "vmapjvpvjp": lambda f: vmap(jvp(lambda *t: vjp(f)(*t)[0])),
}


@every_operator
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_functorch(info: Any, transform: str) -> None:
    """As test_vjp, test_jvp, test_vmap and their compositions: beside PyTorch's operator."""
    for sample in samples(info)[::2]:
        ours, tensors = by_tensors(info.op, sample)
        theirs, _ = by_tensors(info.theirs, sample)
        results = [TRANSFORMS[transform](f)(*tensors) for f in (ours, theirs)]
        torch.testing.assert_close(*results, equal_nan=True)
