"""The linear head with the classes on several ranks: results of the whole, chunk by chunk."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import softstep as ss
from softstep.distributed import Shard, linear_cross_entropy_with_grad
from tests.distributed.cross_entropy_check import shard_of_rank
from tests.distributed.head_check import check_sharded_head, part_of, sharded_head
from tests.support.ranks import ThreadRanks

ml_dtypes = pytest.importorskip("ml_dtypes")

ROWS, FEATURES, CLASSES = 23, 6, 70


def cuts_of(draw: Any, total: int, size: int) -> list[int]:
    inner = st.lists(st.integers(0, total), min_size=size - 1, max_size=size - 1)
    return [0, *sorted(draw(inner)), total]


@st.composite
def heads(draw: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Operands, cuts and options; a few rows at a time, if the workspace is small."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.float16, ml_dtypes.bfloat16]))
    wide = np.float64 if dtype == np.float64 else np.float32
    size = draw(st.integers(1, 4))
    cuts, rows = cuts_of(draw, CLASSES, size), None
    hidden = rng.normal(size=(ROWS, FEATURES)).astype(dtype)
    weight = rng.normal(size=(CLASSES, FEATURES)).astype(dtype)
    if draw(st.booleans()):
        weight = np.asarray(weight[:, ::-1])  # a panel at a time is copied
    kind = draw(st.sampled_from(["classes", "sparse", "probabilities"]))
    options: dict[str, Any] = {"workspace": draw(st.sampled_from([None, 3000]))}
    if wide == np.float64 or kind == "probabilities":
        options["workspace"] = draw(st.sampled_from([None, 6000]))
    target = rng.integers(0, CLASSES, ROWS)
    target[rng.uniform(size=ROWS) < 0.2] = -1
    if kind == "sparse":
        target = rng.integers(0, CLASSES, (ROWS, 3))
        options["target_probabilities"] = rng.uniform(size=(ROWS, 3)).astype(wide)
    elif kind == "probabilities":
        target = rng.dirichlet(np.ones(CLASSES), ROWS).astype(wide)
    options |= {"ignore_index": -1}
    if draw(st.booleans()):
        options["bias"] = rng.normal(size=CLASSES).astype(wide)
    if draw(st.booleans()):
        options["class_weight"] = rng.uniform(0.25, 2, CLASSES).astype(wide)
    if draw(st.booleans()):
        mask = rng.uniform(size=ROWS) < 0.7
        options["sample_weight"] = (rng.uniform(0.25, 2, ROWS) * mask).astype(wide)
    options["label_smoothing"] = draw(st.sampled_from([0.0, 0.2]))
    others = ["exclude_target"] if kind == "classes" else []
    options["smoothing"] = draw(st.sampled_from(["uniform", "allowed", *others]))
    options["gamma"] = draw(st.sampled_from([0.0, 1.5])) if kind == "classes" else 0.0
    options["temperature"] = draw(st.sampled_from([1.0, 1.7]))
    options["softcap"] = draw(st.sampled_from([None, 3.0]))
    options["z_loss"] = draw(st.sampled_from([0.0, 0.01]))
    options["reduction"] = draw(st.sampled_from(["mean", "sum", "none"]))
    if options["reduction"] == "mean" and draw(st.booleans()):
        options["denominator"] = 5.0
    if draw(st.booleans()):
        rows = cuts_of(draw, ROWS, size)
    elif draw(st.booleans()):
        options["shift"] = draw(st.sampled_from([True, 2, ROWS]))
    if draw(st.booleans()):
        shape = (ROWS - int(options.get("shift", 0)),) if options["reduction"] == "none" else ()
        options["upstream"] = rng.uniform(0.5, 2, shape)
    names = ["hidden", "weight", "bias"]
    options["grads"] = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    return (hidden, weight, target, cuts, rows), options


@settings(derandomize=True, deadline=None, database=None, max_examples=100, phases=[Phase.generate])
@given(heads())
def test_every_combination_is_the_whole(head: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    arrays, options = head
    check_sharded_head(*arrays, **options)


def problem(rows: int = ROWS) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    hidden, weight = rng.normal(size=(rows, FEATURES)), rng.normal(size=(CLASSES, FEATURES))
    return hidden, weight, rng.integers(0, CLASSES, rows)


@pytest.mark.parametrize("rows", [None, [0, 0, 9, ROWS]])
@pytest.mark.parametrize("workspace", [None, 6000])
def test_gradients_are_added_to_buffers(rows: Any, workspace: int | None) -> None:
    hidden, weight, target = problem()
    target[4:9] = -100
    cuts, bias = [0, 20, 20, CLASSES], np.zeros(CLASSES)
    _, exact = ss.linear_cross_entropy_with_grad(hidden, weight, target, bias=bias)
    for accumulate in (True, False, ["hidden"], ["weight", "bias"]):
        buffers = {"dhidden": np.ones(hidden.shape), "dweight": np.ones(weight.shape)}
        buffers["dbias"] = np.ones(CLASSES)
        _, found = sharded_head(
            hidden, weight, target, cuts, rows, bias=bias, accumulate=accumulate,
            workspace=workspace, **buffers,
        )  # fmt: skip
        for name in ss.LinearGradients._fields:
            adds = accumulate is True or (accumulate and name[1:] in accumulate)
            expected = getattr(exact, name) + (1 if adds else 0)
            np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-12, atol=1e-14)
            if name != "dhidden":  # the ranks wrote into parts of it
                np.testing.assert_array_equal(buffers[name], getattr(found, name))


@pytest.mark.parametrize("rows", [None, [0, 5, ROWS]])
def test_an_ignored_row_may_hold_anything(rows: Any) -> None:
    hidden, weight, target = problem()
    hidden[3], target[3] = np.nan, -100
    loss, gradients = sharded_head(hidden, weight, target, [0, 30, CLASSES], rows, workspace=6000)
    assert np.isfinite(loss) and all(np.isfinite(g).all() for g in gradients[:2])
    assert not gradients.dhidden[3].any()
    hidden[4] = np.nan
    loss, gradients = sharded_head(
        hidden, weight, target, [0, 30, CLASSES], rows, reduction="none", workspace=6000
    )
    assert np.flatnonzero(np.isnan(loss)).tolist() == [4]
    assert np.flatnonzero(np.isnan(gradients.dhidden).any(axis=1)).tolist() == [4]


@pytest.mark.parametrize("rows", [None, [0, 5, ROWS], [0, 0, ROWS]])
@pytest.mark.parametrize("options", [{}, {"class_weight": np.zeros(CLASSES)}])
def test_nothing_counts(rows: Any, options: dict[str, Any]) -> None:
    hidden, weight, target = problem()
    if not options:
        target[:] = -100
    for empty in ("nan", "zero"):
        loss, gradients = sharded_head(
            hidden, weight, target, [0, 30, CLASSES], rows, empty=empty, **options
        )
        np.testing.assert_equal(loss, np.nan if empty == "nan" else 0.0)
        assert not gradients.dhidden.any() and not gradients.dweight.any()
    with pytest.raises(ValueError, match="the mean is over no rows"):
        sharded_head(hidden, weight, target, [0, 30, CLASSES], rows, empty="raise", **options)


def test_the_rank_with_the_most_classes_sets_the_chunks() -> None:
    """Each stays within its workspace, though one of them could take all rows at once."""
    rng = np.random.default_rng(0)
    rows, features, cuts, workspace = 400, 32, [0, 1000, 9000], 2 << 20
    hidden = rng.normal(size=(rows, features)).astype(np.float32)
    weight = rng.normal(size=(cuts[-1], features)).astype(np.float32)
    target = rng.integers(0, cuts[-1], rows)
    buffers = {"dweight": np.empty_like(weight), "dhidden": np.empty_like(hidden)}
    options = {"workspace": workspace, **buffers}

    def call(comm: Any) -> Any:
        arrays, own = part_of(hidden, weight, target, options, cuts, None, comm.rank)
        linear_cross_entropy_with_grad(*arrays, comm=comm, **own)

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        ThreadRanks(2).run(call)
        used = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    logits = rows * cuts[-1] * 4
    # Two workspaces, the copies of dhidden and targets, and sums of 11 doubles a row.
    assert workspace < used < 2 * workspace + 500_000 < logits


def test_a_single_process_is_the_head_itself() -> None:
    hidden, weight, target = problem()
    whole = ss.linear_cross_entropy_with_grad(hidden, weight, target)
    shard, rows = Shard(0, CLASSES, CLASSES), Shard(0, ROWS, ROWS)
    for options in ({}, {"rows": rows}):
        loss, gradients = linear_cross_entropy_with_grad(
            hidden, weight, target, shard=shard, **options
        )
        assert loss == whole[0]
        np.testing.assert_array_equal(gradients.dweight, whole[1].dweight)
    with pytest.raises(ValueError, match="shard: expected all 140 classes in a single process"):
        linear_cross_entropy_with_grad(hidden, weight, target, shard=shard_of_rank([0, 70, 140], 0))
