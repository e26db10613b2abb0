"""Arrays of other libraries in the NumPy API: read and written where they lie, or refused."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from softstep._foreign import BFLOAT16_BITS, as_input, widened


class Interface:
    """An object that only has __array_interface__."""

    def __init__(self, array: Any) -> None:
        self.__array_interface__ = array.__array_interface__
        self.array = array


class DLPack:
    """An object that only has DLPack."""

    def __init__(self, array: Any, device: tuple[int, int] | None = None) -> None:
        self.array, self.device = array, device

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device or self.array.__dlpack_device__()


NUMPY = np.lib.NumpyVersion(np.__version__)
LOGITS = np.array([[1, 2, 3], [0, 0, 1]], np.float32)
LOSS, GRADIENT = ss.cross_entropy_with_grad(LOGITS, [0, 2])


@pytest.mark.parametrize("kind", [Interface, DLPack])
def test_protocols(kind: Any) -> None:
    target = np.array([0, 2])
    loss, gradient = ss.cross_entropy_with_grad(kind(LOGITS), kind(target))
    assert loss == LOSS and type(gradient) is np.ndarray
    np.testing.assert_array_equal(gradient, GRADIENT)
    np.testing.assert_array_equal(ss.softmax(kind(LOGITS)), ss.softmax(LOGITS))
    out = kind(LOGITS.copy())
    if kind is DLPack and NUMPY < "2.3.0":
        with pytest.raises(TypeError, match=r"out: NumPy .* only reads memory by DLPack"):
            ss.cross_entropy_with_grad(out, target, out=out)
        np.testing.assert_array_equal(out.array, LOGITS)
        return
    _, gradient = ss.cross_entropy_with_grad(out, target, out=out)
    np.testing.assert_array_equal(out.array, GRADIENT)
    assert np.shares_memory(gradient, out.array)


@pytest.mark.parametrize("kind", [Interface, DLPack])
def test_read_only_exports_are_read_and_never_written(kind: Any) -> None:
    x = LOGITS.copy()
    x.flags.writeable = False
    if kind is DLPack and NUMPY < "2.3.0":
        pytest.skip("this NumPy does not export read-only arrays, or reads all as such")
    assert ss.cross_entropy(kind(x), [0, 2]) == LOSS
    with pytest.raises(ValueError, match="out: expected a writeable array, got a read-only one"):
        ss.softmax(LOGITS, out=kind(x))
    np.testing.assert_array_equal(x, LOGITS)


def test_other_devices_are_named() -> None:
    for call in (
        lambda x: ss.softmax(x),
        lambda x: ss.softmax(LOGITS, out=x),
    ):
        with pytest.raises(TypeError, match=r"expected an array in CPU memory.* \(2, 0\)"):
            call(DLPack(LOGITS.copy(), (2, 0)))


def test_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    x, target = torch.from_numpy(LOGITS.copy()), torch.tensor([0, 2])
    version = x._version
    loss, gradient = ss.cross_entropy_with_grad(x, target, out=x)
    assert loss == LOSS and np.shares_memory(gradient, x.numpy()) and x._version > version
    np.testing.assert_array_equal(x.numpy(), GRADIENT)
    np.testing.assert_array_equal(ss.softmax(x.t(), axis=0), ss.softmax(GRADIENT).T)
    with pytest.raises(TypeError, match="x: expected a tensor without requires_grad"):
        ss.softmax(x.requires_grad_())
    with pytest.raises(TypeError, match="x: expected a tensor on the CPU, got one on meta"):
        ss.softmax(torch.empty(2, device="meta"))


def test_torch_bfloat16() -> None:
    torch = pytest.importorskip("torch")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = torch.from_numpy(LOGITS).bfloat16()
    assert ss.softmax(x).dtype == ml_dtypes.bfloat16
    expected = ss.softmax(LOGITS.astype(ml_dtypes.bfloat16))
    np.testing.assert_array_equal(ss.softmax(x, out=x), expected)
    np.testing.assert_array_equal(x.float().numpy(), expected.astype(np.float32))


def test_jax_arrays_are_read_and_never_written() -> None:
    jnp = pytest.importorskip("jax.numpy")
    x = jnp.asarray(LOGITS)
    assert ss.cross_entropy(x, jnp.array([0, 2])) == LOSS
    view = as_input(x, "x")
    assert view.ctypes.data == x.unsafe_buffer_pointer()
    with pytest.raises(TypeError, match="out: expected a NumPy array, got a JAX array"):
        ss.softmax(LOGITS, out=x)
    np.testing.assert_array_equal(x, LOGITS)
    assert ss.softmax(x.astype(jnp.bfloat16)).dtype.name == "bfloat16"


def test_bits_of_bfloat16_need_no_ml_dtypes() -> None:
    bits = (LOGITS.view(np.uint32) >> 16).astype(np.uint16).view(BFLOAT16_BITS)
    np.testing.assert_array_equal(widened(bits), LOGITS)
    weight = bits[0]
    loss, gradient = ss.cross_entropy_with_grad(bits, [0, 2], weight=weight)
    expected, rounded = ss.cross_entropy_with_grad(LOGITS, [0, 2], weight=LOGITS[0])
    assert loss == expected and gradient.dtype == BFLOAT16_BITS
    np.testing.assert_allclose(widened(gradient), rounded, rtol=2.0**-8)
