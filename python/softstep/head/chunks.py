"""The linear head, a chunk of rows at a time: products, cross-entropy in place, products."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.head.arguments import GRADIENTS, Head, LinearGradients
from softstep.head.filter import keep_live_classes
from softstep.head.panels import HiddenRows, WeightPanels, add_rows
from softstep.head.targets import Targets
from softstep.head.workspace import Arena, Needs, borrowed, plan_chunks


class ChunkLoop:
    """One call: what is computed, and where it goes."""

    product: ClassVar[Callable[..., Any]] = staticmethod(np.matmul)

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
        self.weight = WeightPanels(head.weight, head.dtype)
        self.hidden = self._hidden_rows()
        self.gradients = {
            name: given.get(name) if name in given else self._new(name) for name in wanted
        }
        self.plan = plan_chunks(self._needs(), workspace)

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
        return total if count else targets.no_rows_loss

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
        filters = self.filter_eps is not None
        copied = 1 if self.weight.copied or filters else 0
        summed = 1 if "weight" in self.wanted else 0
        dhidden = 0
        if "hidden" in self.wanted:
            dhidden = 1 + copied  # the sum over panels, and a panel's part
        return Needs(
            rows=len(self.targets.rows),
            features=self.head.hidden.shape[-1],
            classes=len(self.head.weight),
            itemsize=self.head.dtype.itemsize,
            row_classes=2 if self.targets.copies_probabilities else 1,
            row_features=int(self.hidden.copied) + dhidden,
            panels=copied + summed,
            class_vectors=1 if "bias" in self.wanted else 0,
            panels_of_one_chunk=copied + (summed if filters or "weight" in self.added else 0),
        )

    def _take_scratch(self, arena: Arena) -> None:
        rows, needs = self.plan.rows, self._needs()
        copied = self.weight.copied or self.filter_eps is not None
        classes, features = needs.classes, needs.features
        self.logits = arena.array(rows, classes)
        self.probabilities = arena.array(rows, classes) if needs.row_classes == 2 else None
        self.x = arena.array(rows, features) if self.hidden.copied else None
        if "hidden" in self.wanted:
            self.dx = arena.array(rows, features)
            self.dx_part = arena.array(rows, features) if copied else self.dx
        if "bias" in self.wanted:
            self.db = arena.array(classes)
        one_chunk = rows >= needs.rows
        panels = needs.panels_of_one_chunk if one_chunk else needs.panels
        if copied:
            self.weight.scratch = arena.array(self.plan.panel, features)
            panels -= 1
        self.dw = arena.array(self.plan.panel, features) if panels else None

    def _chunk(self, begin: int, end: int) -> Any:
        logits = self.logits[: end - begin]
        x = self.hidden.chunk(begin, end, self.x)
        for panel, weight in self._panels():
            self.product(x, weight.T, out=logits[:, panel])
        if self.head.bias is not None:
            _core.panel_add(logits, np.broadcast_to(self.head.bias, logits.shape), None)
        loss = self.targets.cross_entropy(logits, begin, bool(self.wanted), self.probabilities)
        if self.wanted:
            self._backward(logits, x, begin, end)
        return loss

    def _backward(self, dlogits: FloatArray, x: FloatArray, begin: int, end: int) -> None:
        live = None
        panels = self._panels()
        if self.filter_eps is not None:
            live = keep_live_classes(dlogits, self.targets, begin, self.filter_eps)
        if live is not None:
            dlogits = dlogits[:, : len(live)]
            panels = self.weight.picked(live, self.plan.panel)
        scale = None
        if self.upstream is not None:
            scale = self.upstream[self.targets.picked(begin, end)]
        if "hidden" in self.wanted:
            self._add_dhidden(dlogits, panels, scale, begin, end)
        if scale is not None:  # row by row it is the same in x, which is smaller than the logits
            np.multiply(x, scale[:, None], out=x)
        if "bias" in self.wanted:
            ones = np.ones(end - begin, self.head.dtype) if scale is None else scale
            self._add_dbias(dlogits, ones, live, begin == 0)
        if "weight" in self.wanted:
            self._add_dweight(dlogits, x, live, begin == 0)

    def _panels(self) -> Iterator[tuple[slice, FloatArray]]:
        """Weights as they can be multiplied: all at once, or copies of panels."""
        return self.weight.panels(self.plan.panel)

    def _add_dhidden(
        self,
        dlogits: FloatArray,
        panels: Iterator[tuple[slice, FloatArray]],
        scale: FloatArray | None,
        begin: int,
        end: int,
    ) -> None:
        dhidden = self.gradients["hidden"]
        assert dhidden is not None
        direct = None if "hidden" in self.added else self.hidden.place(dhidden, begin, end)
        dx = self.dx[: end - begin] if direct is None else direct
        part = self.dx_part[: end - begin]
        for panel, weight in panels:
            if panel.start == 0:
                self.product(dlogits[:, panel], weight, out=dx)
            else:
                self.product(dlogits[:, panel], weight, out=part)
                _core.panel_add(dx, part, None)
        if scale is not None:
            np.multiply(dx, scale[:, None], out=dx)
        self._put_dhidden(dhidden, dx, begin, end, direct is not None)

    def _put_dhidden(
        self, dhidden: FloatArray, dx: FloatArray, begin: int, end: int, in_place: bool
    ) -> None:
        """Put the gradient of the rows [begin, end) where it belongs, if it is not there."""
        if not in_place:
            add_rows(dhidden, self.targets.rows[begin:end], dx, "hidden" in self.added)

    def _add_dweight(
        self, dlogits: FloatArray, x: FloatArray, live: FloatArray | None, first: bool
    ) -> None:
        dweight = self.gradients["weight"]
        assert dweight is not None
        if first and "weight" not in self.added:
            if live is None:
                self.product(dlogits.T, x, out=dweight)
                return
            dweight.fill(0)
        assert self.dw is not None
        # NumPy's products cannot add to their output: they go through a panel that stays cached.
        for start in range(0, dlogits.shape[1], self.plan.panel):
            part = dlogits[:, start : start + self.plan.panel]
            product = self.dw[: part.shape[1]]
            self.product(part.T, x, out=product)
            if live is None:
                _core.panel_add(dweight[start : start + len(product)], product, None)
            else:
                _core.panel_add(dweight, product, live[start : start + len(product)])

    def _add_dbias(
        self, dlogits: FloatArray, ones: FloatArray, live: FloatArray | None, first: bool
    ) -> None:
        dbias = self.gradients["bias"]
        assert dbias is not None
        if first and "bias" not in self.added:
            if live is None:
                self.product(ones, dlogits, out=dbias)
                return
            dbias.fill(0)
        sums = self.db[: dlogits.shape[1]]
        self.product(ones, dlogits, out=sums)
        dbias[slice(None) if live is None else live] += sums

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
                gradient.reshape(-1, gradient.shape[-1])[rest] = 0
