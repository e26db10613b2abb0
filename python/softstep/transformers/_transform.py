"""What a model does with its logits before the loss: scales them, caps them."""

from typing import Any, NamedTuple

import torch

_TINY, _HUGE = 2.0**-30, 1e6
_POINTS = (0.0, _TINY, -_TINY, 0.5, -2.0, 7.0, -30.0, 100.0, _HUGE, -_HUGE)


class Transform(NamedTuple):
    """softcap * tanh(logits / softcap) / temperature; without a softcap logits / temperature."""

    temperature: float = 1.0
    softcap: float | None = None

    def of(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the changed logits."""
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        return logits / self.temperature


def measure(model: Any, head: torch.nn.Module) -> Transform:
    """Give the model logits that are known, for two tokens, and see with what it asks for a loss.

    So neither families nor names in their configurations need to be known.
    """
    points = torch.tensor(_POINTS, dtype=torch.float64)
    calls, received = 0, []

    def give(module: Any, inputs: Any, logits: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return points.to(logits.device).expand(*logits.shape[:-1], -1)

    def receive(logits: torch.Tensor, labels: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        received.append((logits, labels))
        return logits.new_zeros(())

    tokens = torch.zeros((1, 2), dtype=torch.long, device=next(head.parameters()).device)
    own_loss = vars(model).get("_loss_function")
    hook = head.register_forward_hook(give)
    model.loss_function = receive
    try:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            model(input_ids=tokens, labels=tokens)
    except Exception as error:
        raise ValueError(
            f"model: expected one that computes a loss of two tokens, input_ids and labels alone; "
            f"{type(model).__name__} raised {type(error).__name__}: {error}"
        ) from error
    finally:
        hook.remove()
        if own_loss is None:
            del model._loss_function
        else:
            model.loss_function = own_loss
    if calls != 1 or len(received) != 1:
        raise ValueError(
            f"model: expected one that calls its head and self.loss_function once for a loss; "
            f"{type(model).__name__} has called them {calls} and {len(received)} times"
        )
    return _fitted(model, points, *received[0], tokens)


def _fitted(
    model: Any, points: torch.Tensor, logits: torch.Tensor, labels: Any, tokens: torch.Tensor
) -> Transform:
    name = type(model).__name__
    if labels is not tokens or logits.shape != (1, 2, len(points)):
        raise ValueError(f"model: {name} gives its loss not all logits and labels as they were")
    if logits.requires_grad:
        raise ValueError(f"model: {name} has parameters between its head and its loss")
    found = logits.cpu().double()
    of = dict(zip(_POINTS, found[0, 0].tolist(), strict=True))
    slope, highest = of[_TINY] / _TINY, of[_HUGE]
    if slope > 0:
        capped = highest < 0.5 * slope * _HUGE
        transform = Transform(1 / slope, highest / slope if capped and highest > 0 else None)
        if torch.allclose(found, transform.of(points).expand_as(found), rtol=1e-5, atol=1e-9):
            return transform
    raise ValueError(
        f"model: expected one that scales its logits or caps them by tanh, at most; {name} turns "
        f"the logits 0.5, -2 and 100 into {of[0.5]:.4g}, {of[-2.0]:.4g} and {of[100.0]:.4g}"
    )
