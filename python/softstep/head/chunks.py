"""The linear head, a chunk of rows at a time: products, cross-entropy in place, products."""

from typing import Any

import numpy as np

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.head.arguments import GRADIENTS, Head, LinearGradients, is_bfloat16
from softstep.head.filter import keep_live_classes
from softstep.head.rows import HiddenRows, add_rows, matrix
from softstep.head.targets import Targets
from softstep.head.workspace import Arena, Needs, borrowed, plan_chunks


class ChunkLoop:
    """One call: what is computed, and where it goes."""

    def __init__(
        self,
        head: Head,
        targets: Targets,
        wanted: frozenset[str],
        given: dict[str, FloatArray],
        added: frozenset[str],
        upstream: FloatArray | None,
        workspace: int | None,
        filter_eps: float | None = None,
    ) -> None:
        self.head, self.targets, self.wanted, self.added = head, targets, wanted, added
        self.upstream, self.filter_eps = upstream, filter_eps
        # The gradient of the logits is then rounded too, where the CPU multiplies bfloat16.
        self.bfloat16 = is_bfloat16(head.hidden.dtype) and is_bfloat16(head.weight.dtype)
        self.hidden = self._hidden_rows()
        self.gradients = {
            name: given.get(name) if name in given else self._new(name) for name in wanted
        }
        self.needs = self._needs()
        self.plan = plan_chunks(self.needs, workspace, self.bfloat16)

    def _hidden_rows(self) -> HiddenRows:
        scaled = self.upstream is not None
        return HiddenRows(self.head.hidden, self.targets.rows, self.head.dtype, scaled)

    def run(self) -> Any:
        """Return the loss: reduced, or of all rows."""
        targets, count = self.targets, len(self.targets.rows)
        reduces = targets.reduction != "none"
        losses = None if reduces else targets.new_losses()
        total = 0.0
        with borrowed(self.plan.bytes, self.head.dtype) as arena, np.errstate(all="ignore"):
            self._take_scratch(arena)
            for begin in range(0, count, self.plan.rows):
                end = min(count, begin + self.plan.rows)
                loss = self._chunk(begin, end)
                if losses is None:
                    total += loss
                else:
                    losses[targets.picked(begin, end)] = loss
        if self.wanted:
            self._clear_rest()
        if losses is not None:
            return targets.delivered(losses)
        return total if count and targets.denominator else targets.no_rows_loss

    def results(self) -> LinearGradients:
        """Return the gradients, written."""
        return LinearGradients(*(self.gradients.get(name) for name in GRADIENTS))

    def _new(self, name: str) -> FloatArray:
        head = self.head
        if name == "hidden":
            return np.empty(head.hidden.shape, head.hidden.dtype)
        return np.empty(
            head.weight.shape if name == "weight" else head.weight.shape[:1], head.dtype
        )

    def _needs(self) -> Needs:
        """Scratch arrays; `_take_scratch` takes the same."""
        return Needs(
            rows=len(self.targets.rows),
            features=self.head.hidden.shape[-1],
            classes=len(self.head.weight),
            itemsize=self.head.dtype.itemsize,
            row_classes=2 if self.targets.copies_probabilities else 1,
            row_features=int(self.hidden.copied) + ("hidden" in self.wanted),
            class_vectors=1 if "bias" in self.wanted else 0,
        )

    def _take_scratch(self, arena: Arena) -> None:
        rows, needs = self.plan.rows, self.needs
        classes, features = needs.classes, needs.features
        self.logits = arena.array(rows, classes)
        self.probabilities = arena.array(rows, classes) if needs.row_classes == 2 else None
        self.x = arena.array(rows, features) if self.hidden.copied else None
        if "hidden" in self.wanted:
            self.dx = arena.array(rows, features)
        if "bias" in self.wanted:
            self.db = arena.array(classes)

    def _product(
        self, out: FloatArray, left: FloatArray, right: FloatArray, **options: Any
    ) -> None:
        _core.product(out, left, right, bfloat16=self.bfloat16, **options)

    def _chunk(self, begin: int, end: int) -> Any:
        logits = self.logits[: end - begin]
        x, rows = self.hidden.chunk(begin, end, self.x)
        weight, bias = self.head.weight, self.head.bias
        self._product(logits, x, weight.T, left_rows=rows, bias=bias)
        loss = self.targets.cross_entropy(logits, begin, bool(self.wanted), self.probabilities)
        if self.wanted:
            self._backward(logits, x, rows, begin, end)
        return loss

    def _backward(
        self, dlogits: FloatArray, x: FloatArray, rows: FloatArray | None, begin: int, end: int
    ) -> None:
        live = None
        if self.filter_eps is not None:
            live = keep_live_classes(dlogits, self.targets, begin, self.filter_eps)
        if live is not None:
            dlogits = dlogits[:, : len(live)]
        scale = None
        if self.upstream is not None:
            scale = self.upstream[self.targets.picked(begin, end)]
        if "hidden" in self.wanted:
            self._add_dhidden(dlogits, live, scale, begin, end)
        if scale is not None:  # row by row it is the same in x, which is smaller than the logits
            np.multiply(x, scale[:, None], out=x)
        if "bias" in self.wanted:
            ones = np.ones(end - begin, self.head.dtype) if scale is None else scale
            self._add_dbias(dlogits, ones, live, begin)
        if "weight" in self.wanted:
            adds = self._starts("weight", live, begin)
            dweight = self.gradients["weight"]
            assert dweight is not None
            self._product(dweight, dlogits.T, x, right_rows=rows, out_rows=live, add=adds)

    def _starts(self, name: str, live: FloatArray | None, begin: int) -> bool:
        """Return whether a gradient is added to: it is 0 before, where not all is written."""
        if begin > 0 or name in self.added:
            return True
        if live is not None:
            gradient = self.gradients[name]
            assert gradient is not None
            gradient.fill(0)
        return live is not None

    def _add_dhidden(
        self,
        dlogits: FloatArray,
        live: FloatArray | None,
        scale: FloatArray | None,
        begin: int,
        end: int,
    ) -> None:
        dhidden = self.gradients["hidden"]
        assert dhidden is not None
        direct = None if "hidden" in self.added else self.hidden.place(dhidden, begin, end)
        dx = self.dx[: end - begin] if direct is None else direct
        self._product(dx, dlogits, self.head.weight, right_rows=live)
        if scale is not None:
            np.multiply(dx, scale[:, None], out=dx)
        self._put_dhidden(dhidden, dx, begin, end, direct is not None)

    def _put_dhidden(
        self, dhidden: FloatArray, dx: FloatArray, begin: int, end: int, in_place: bool
    ) -> None:
        """Put the gradient of the rows [begin, end) where it belongs, if it is not there."""
        if not in_place:
            add_rows(dhidden, self.targets.rows[begin:end], dx, "hidden" in self.added)

    def _add_dbias(
        self, dlogits: FloatArray, ones: FloatArray, live: FloatArray | None, begin: int
    ) -> None:
        dbias = self.gradients["bias"]
        assert dbias is not None
        adds = self._starts("bias", live, begin)
        if live is None:
            _core.product(dbias[None], ones[None], dlogits, add=adds)
            return
        sums = self.db[: len(live)]
        _core.product(sums[None], ones[None], dlogits)
        dbias[live] += sums

    def _clear_rest(self) -> None:
        """Gradients of rows that do not count, and of a call without any that do."""
        rows = self.hidden.rows
        for name, gradient in self.gradients.items():
            if gradient is None or name in self.added:
                continue
            if len(self.targets.rows) == 0:
                gradient[...] = 0
            elif name == "hidden" and len(rows) != self.hidden.count:
                rest = np.ones(self.hidden.count, bool)
                rest[rows] = False
                matrix(gradient)[rest] = 0
