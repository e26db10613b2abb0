"""What the ranks of a sharded cross-entropy send, and that all of them raise if one has to."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from softstep.distributed import Shard, Single, cross_entropy, cross_entropy_with_grad
from tests.distributed.cross_entropy_check import outcomes, part_of, shard_of_rank, sharded
from tests.support.ranks import Call, Counting, ThreadRanks

HEADER, FIRST_ROWS, LEAST_ROWS, TRAILER = 4, 16380, 1020, 3


def maxima(rows: int) -> Call:
    return Call("all_reduce", "max", 8 * rows)


def sums(rows: int, fields: int) -> Call:
    return Call("all_reduce", "sum", 8 * (fields * rows + TRAILER))


# Numbers of a row in the sum: docs/distributed.md has the same table.
ROWS = 7
DENSE = {"target": np.full((ROWS, 6), 0.25)}
WEIGHT = {"weight": np.ones(6)}
FIELDS: list[tuple[dict[str, Any], int]] = [
    ({}, 2),
    ({"temperature": 2.0, "softcap": 3.0, "z_loss": 0.1, "reduction": "none"}, 2),
    ({"sample_weight": np.ones(ROWS)}, 2),
    (WEIGHT, 3),
    ({"target": np.zeros((ROWS, 1), int), "target_probabilities": np.ones((ROWS, 1))}, 3),
    ({"target": np.zeros((ROWS, 4), int), "target_probabilities": np.ones((ROWS, 4))}, 4),
    (DENSE, 4),
    (DENSE | WEIGHT, 4),
    ({"label_smoothing": 0.1}, 2 + 1),
    ({"label_smoothing": 0.1, "smoothing": "exclude_target"}, 2 + 1),
    ({"label_smoothing": 0.1} | WEIGHT, 3 + 2),
    ({"label_smoothing": 0.1} | DENSE, 4 + 1),
    ({"label_smoothing": 0.1, "smoothing": "allowed"}, 2 + 3),
    ({"label_smoothing": 0.1, "smoothing": "allowed"} | DENSE | WEIGHT, 4 + 3),
]


@pytest.mark.parametrize("options, fields", FIELDS, ids=lambda value: str(value)[:50])
def test_two_messages_as_long_as_the_documentation_says(
    options: dict[str, Any], fields: int
) -> None:
    options = dict(options)
    x, target = np.zeros((ROWS, 6), np.float32), options.pop("target", np.zeros(ROWS, int))

    def calls_of(comm: Any) -> Any:
        found = []
        for call in (cross_entropy, cross_entropy_with_grad):
            counting = Counting(comm)
            shard = shard_of_rank([0, 2, 6], comm.rank)
            logits, own_target, own = part_of(x, target, options, shard)
            call(logits, own_target, shard=shard, comm=counting, **own)
            found.append(counting.calls)
        return found

    for without, with_gradient in ThreadRanks(2).run(calls_of):
        assert without == [maxima(HEADER + FIRST_ROWS), sums(ROWS, fields)]
        assert with_gradient == without, "the gradient needs no message"


def test_a_third_message_for_more_rows_than_ever() -> None:
    """Of the maxima that the first one has no room for; ranks know no more of each other's rows."""
    counts = [5, 3000, 5, 2000, 3000, 20_000]

    def calls_of(comm: Any) -> Any:
        counting = Counting(comm)
        shard = shard_of_rank([0, 1, 2], comm.rank)
        for rows in counts:
            x = np.arange(2.0 * rows).reshape(rows, 2)[:, comm.rank :][:, :1]
            loss = cross_entropy(x, np.zeros(rows, int), shard=shard, comm=counting)
            assert loss == pytest.approx(np.log1p(np.e)), "a maximum was lost"
        return [call for call in counting.calls if call.op == "max"]

    rooms = [HEADER + n for n in (FIRST_ROWS, LEAST_ROWS, 3000, 3000, 3000, 3000)]
    sent = [maxima(room) for room in rooms]
    sent.insert(2, maxima(3000 - LEAST_ROWS))
    sent.append(maxima(20_000 - 3000))
    assert ThreadRanks(2).run(calls_of) == [sent, sent]


def test_the_first_call_has_room_for_many_rows() -> None:
    def calls_of(comm: Any) -> Any:
        counting = Counting(comm)
        shard, x = shard_of_rank([0, 1, 2], comm.rank), np.zeros((FIRST_ROWS, 1))
        for _ in range(2):
            cross_entropy(x, np.zeros(len(x), int), shard=shard, comm=counting)
        return counting.calls

    sent = [maxima(HEADER + FIRST_ROWS), sums(FIRST_ROWS, 2)]
    assert ThreadRanks(2).run(calls_of) == [sent * 2, sent * 2]


def test_a_single_process_sends_nothing() -> None:
    x, target = np.eye(3, dtype=np.float32), [0, 1, 2]
    comm = Counting(Single())
    loss, dlogits = cross_entropy_with_grad(x, target, shard=Shard(0, 3, 3), comm=comm)
    assert not comm.calls
    expected = ss.cross_entropy_with_grad(x, target)
    assert loss == expected[0] == cross_entropy(x, target, shard=Shard(0, 3, 3))
    np.testing.assert_array_equal(dlogits, expected[1])
    with pytest.raises(ValueError, match=r"shard: expected all 6 classes in a single process"):
        cross_entropy(x, target, shard=Shard(0, 3, 6))
    with pytest.raises(ValueError, match=r"shard: expected as many classes as logits has, 3"):
        cross_entropy(x, target, shard=Shard(0, 6, 6))


def two_ranks(own: Any, other: Any) -> list[Any]:
    """Outcomes of rank 0 with `own` changes of a good call, and of rank 1 with the `other` ones."""
    buffers = [np.ones((4, 3)), np.ones((4, 3))]

    def call(comm: Any) -> Any:
        options = {"logits": buffers[comm.rank], "target": [0, 1, 5, 2], "out": buffers[comm.rank]}
        options |= {"shard": Shard(3 * comm.rank, 3 * comm.rank + 3, 6)}
        options |= (own, other)[comm.rank]
        return cross_entropy_with_grad(comm=comm, **options)

    found = outcomes(2, call)
    assert all((buffer == 1).all() for buffer in buffers) == isinstance(found[0], Exception)
    return found


WRONG = [
    ({"target": [0, 1, 6, 2]}, IndexError, r"row 2 has the value 6, expected a class in \[0, 6\)"),
    ({"target": [0, 1, 2]}, ValueError, "target: "),
    ({"target": ["a"] * 4}, TypeError, "target: "),
    ({"logits": np.ones((4, 2)), "out": None}, ValueError, "shard: expected as many classes"),
    ({"logits": np.ones((4, 3), int), "out": np.ones((4, 3), int)}, TypeError, "out: "),
    ({"out": np.ones((4, 2))}, ValueError, "out: "),
    ({"shard": Shard(4, 2, 6)}, ValueError, "shard: expected 0 <= begin"),
    ({"shard": 3}, TypeError, "shard: expected a Shard"),
    ({"weight": np.ones(6)}, ValueError, "weight: "),
    ({"temperature": -1}, ValueError, "temperature: "),
    ({"logits": np.ones((4, 2)), "out": None, "axis": np.int8(1)}, ValueError, "shard: expected"),
    ({"axis": 7}, ValueError, "axis"),
    ({"reduction": "max"}, ValueError, "reduction: "),
    ({"label_smoothing": "much"}, TypeError, "label_smoothing: "),
]


@pytest.mark.parametrize("wrong, error, message", WRONG, ids=lambda value: str(value)[:30])
def test_what_one_rank_refuses_all_raise(wrong: Any, error: type[Exception], message: str) -> None:
    refused, waiting = two_ranks(wrong, {})
    assert type(refused) is error, refused
    with pytest.raises(error, match=message):
        raise refused
    assert type(waiting) is ValueError
    assert "rank 0 refused its arguments; see its error" in str(waiting)
    waiting, refused = two_ranks({}, wrong)
    assert type(refused) is error and "rank 1 refused" in str(waiting)
    for refused in two_ranks(wrong, wrong):
        assert type(refused) is error


DIFFERENT = [
    {"target": [0, 1, 5, 3]},
    {"target": [0, 1, 5, -100]},
    {"logits": np.ones((5, 3)), "target": [0] * 5, "out": None},
    {"logits": np.ones((5000, 3)), "target": [0] * 5000, "out": None},
    {"shard": Shard(0, 3, 7)},
    {"label_smoothing": 0.1},
    {"reduction": "sum"},
    {"ignore_index": 7},
    {"sample_weight": np.ones(4)},
    {"weight": np.ones(3)},
    {"target": np.ones((4, 3))},
]


@pytest.mark.parametrize("different", DIFFERENT, ids=lambda value: str(value)[:30])
def test_calls_that_differ_are_errors_on_every_rank(different: dict[str, Any]) -> None:
    for error in two_ranks(different, {}):
        assert type(error) is ValueError, error
        assert "differ between the 2 ranks" in str(error)


@pytest.mark.parametrize("begin", [0, 1, 2, 3])
def test_shards_are_the_whole(begin: int) -> None:
    """Also as many classes as there are, of which some are twice and others missing."""
    moved = {"shard": Shard(begin, begin + 3, 6)}
    if begin == 3:
        assert not any(isinstance(found, Exception) for found in two_ranks({}, moved))
        return
    for error in two_ranks({}, moved):
        assert type(error) is ValueError
        assert "expected shards that have each of 6 classes once, got 6 classes" in str(error)


def test_a_mean_over_nothing_raises_on_every_rank() -> None:
    empty = {"empty": "raise", "ignore_index": 0, "target": [0] * 4}
    for error in two_ranks(empty, empty):
        assert type(error) is ValueError and "the mean is over no rows" in str(error)
    weightless = {"empty": "raise", "weight": np.zeros(3)}
    for error in two_ranks(weightless, weightless):
        assert type(error) is ValueError and "the mean is over no rows" in str(error)


def test_a_communicator_is_what_is_expected() -> None:
    with pytest.raises(TypeError, match=r"comm: expected a softstep.distributed.Communicator"):
        cross_entropy([[1.0]], [0], shard=Shard(0, 1, 1), comm="world")


def test_arguments_are_only_read() -> None:
    x = np.arange(12.0).reshape(3, 4)
    x.flags.writeable = False
    target = np.array([0, 1, 3])
    target.flags.writeable = False
    expected = ss.cross_entropy_with_grad(x, target)
    loss, dlogits = sharded(x, target, [0, 3, 4])
    assert loss == pytest.approx(expected[0], rel=1e-15)
    np.testing.assert_allclose(dlogits, expected[1], rtol=1e-12)
