"""What the ranks of a sharded head send, and that all of them raise if one has to."""

from typing import Any

import numpy as np
import pytest

from softstep.distributed import Shard, linear_cross_entropy_with_grad
from tests.distributed.cross_entropy_check import outcomes, shard_of_rank
from tests.support.ranks import Call, Counting, ThreadRanks

ROWS, FEATURES, CUTS = 12, 4, [0, 20, 32]
AGREEMENT = Call("all_reduce", "max", 8 * 4)


def messages(gathers: bool, **options: Any) -> list[Call]:
    """The collectives of one call; both ranks must be in the same."""
    rng = np.random.default_rng(0)
    hidden, weight = rng.normal(size=(ROWS, FEATURES)), rng.normal(size=(CUTS[-1], FEATURES))

    def call(comm: Any) -> Any:
        counting, shard = Counting(comm), shard_of_rank(CUTS, comm.rank)
        rows = shard_of_rank([0, 6, ROWS], comm.rank) if gathers else None
        linear_cross_entropy_with_grad(
            hidden[rows.begin : rows.end] if rows else hidden,
            weight[shard.begin : shard.end],
            np.arange(ROWS),
            shard=shard,
            comm=counting,
            rows=rows,
            **{k: v[: shard.size] if k == "class_weight" else v for k, v in options.items()},
        )
        return counting.calls

    first, second = ThreadRanks(2).run(call)
    assert first == second
    return first


def chunk(rows: int, fields: int = 2) -> list[Call]:
    return [Call("all_reduce", "max", 8 * rows), Call("all_reduce", "sum", 8 * (fields * rows + 3))]


def test_one_agreement_and_three_messages_a_chunk() -> None:
    dhidden = Call("all_reduce", "sum", 8 * ROWS * FEATURES)
    assert messages(False) == [AGREEMENT, *chunk(ROWS), dhidden]
    assert messages(False, grads=["weight"]) == [AGREEMENT, *chunk(ROWS)]
    # The denominator of a weighted mean is summed before the first chunk.
    weighted = {"class_weight": np.ones(CUTS[-1])}
    denominator = Call("all_reduce", "sum", 8)
    assert messages(False, **weighted) == [AGREEMENT, denominator, *chunk(ROWS, 3), dhidden]


def test_the_chunks_of_the_smallest_workspace() -> None:
    """20 classes of float64 and two rows of 4 features: 3 rows, for rank 1 too."""
    sent = messages(False, workspace=1000)
    maxima = [call.bytes // 8 for call in sent[1:] if call.op == "max"]
    assert sum(maxima) == ROWS and 1 < len(maxima) < ROWS
    expected = [AGREEMENT]
    for rows in maxima:
        expected += [*chunk(rows), Call("all_reduce", "sum", 8 * rows * FEATURES)]
    assert sent == expected


def test_rows_are_gathered_and_their_gradients_scattered() -> None:
    ends = Call("all_gather", None, 2 * 2 * 8)
    nbytes = 8 * ROWS * FEATURES
    gather, scatter = Call("all_gather", None, nbytes), Call("reduce_scatter", "sum", nbytes)
    assert messages(True) == [AGREEMENT, ends, gather, *chunk(ROWS), scatter]


def two_ranks(own: dict[str, Any], other: dict[str, Any]) -> list[Any]:
    """Outcomes of rank 0 with `own` changes of a good call, and of rank 1 with the `other` ones."""
    buffers = [np.full((3, 2), 7.0), np.full((3, 2), 7.0)]

    def call(comm: Any) -> Any:
        begin = 3 * comm.rank
        options: dict[str, Any] = {"hidden": np.ones((4, 2)), "weight": np.ones((3, 2))}
        options |= {"target": [0, 1, 5, 2], "dweight": buffers[comm.rank], "comm": comm}
        options |= {"shard": Shard(begin, begin + 3, 6)} | (own, other)[comm.rank]
        return linear_cross_entropy_with_grad(**options)

    found = outcomes(2, call)
    if isinstance(found[0], Exception):
        assert all((buffer == 7).all() for buffer in buffers), "written before all agreed"
    return found


WRONG = [
    ({"target": [0, 1, 6, 2]}, IndexError, r"row 2 has the value 6, expected a class in \[0, 6\)"),
    ({"weight": np.ones((2, 2)), "dweight": None}, ValueError, "shard: expected as many classes"),
    ({"weight": np.ones((3, 4)), "dweight": None}, ValueError, "weight: expected shape"),
    ({"hidden": np.ones((4, 2), np.float32)}, TypeError, "weight: expected float32"),
    ({"class_weight": np.ones(6)}, ValueError, "class_weight: expected shape"),
    ({"class_weight": -np.ones(3), "reduction": "median"}, ValueError, "reduction: "),
    ({"dhidden": np.ones((4, 3))}, ValueError, "dhidden: expected shape"),
    ({"grads": ["logits"]}, ValueError, "grads: expected names"),
    ({"workspace": 8}, ValueError, "workspace: expected at least"),
    ({"upstream": [1.0, 2.0]}, ValueError, "upstream: expected shape"),
    ({"shard": Shard(4, 3, 6)}, ValueError, "shard: expected 0 <= begin"),
    ({"rows": Shard(0, 2, 4)}, ValueError, r"hidden: expected shape \(2, D\)"),
    ({"rows": Shard(0, 4, 4), "shift": True}, ValueError, "shift: expected 0"),
]


@pytest.mark.parametrize("wrong, error, message", WRONG, ids=lambda value: str(value)[:30])
def test_what_one_rank_refuses_all_raise(wrong: Any, error: type[Exception], message: str) -> None:
    refused, waiting = two_ranks(wrong, {})
    with pytest.raises(error, match=message):
        raise refused
    assert type(waiting) is ValueError
    assert "linear_cross_entropy: rank 0 refused its arguments; see its error" in str(waiting)


@pytest.mark.parametrize(
    "different",
    [
        {"target": [0, 1, 5, 3]},
        {"hidden": np.ones((5, 2)), "target": [0] * 5},
        {"grads": ["weight"]},
        {"softcap": 3.0},
        {"rows": Shard(0, 4, 4)},
        {"upstream": 2.0},
    ],
    ids=str,
)
def test_calls_that_differ_are_errors_on_every_rank(different: dict[str, Any]) -> None:
    for error in two_ranks(different, {}):
        assert type(error) is ValueError and "differ between the 2 ranks" in str(error), error


def test_rows_that_do_not_follow_one_another() -> None:
    half = {"hidden": np.ones((2, 2)), "rows": Shard(0, 2, 4)}
    for error in two_ranks(half, half):
        assert type(error) is ValueError
        assert "rows: expected the ranks' shards to follow one another up to 4" in str(error)


def test_denominators_that_are_no_numbers_to_divide_by() -> None:
    for weights in ([-1.0] * 3, [np.inf] * 3):
        wrong = {"class_weight": np.array(weights)}
        for error in two_ranks(wrong, wrong):
            assert type(error) is ValueError
            assert "finite and not negative" in str(error)
