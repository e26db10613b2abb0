"""Log-probabilities of given tokens under a linear head."""

from __future__ import annotations

import torch

from softstep.torch._arguments import renamed
from softstep.torch._linear_cross_entropy import linear_cross_entropy
from softstep.torch._numbers import Number

_NAMES = {
    "input": "hidden",
    "linear_weight": "weight",
    "linear_bias": "bias",
    "target": "tokens",
}


def log_probs(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    tokens: torch.Tensor,
    *,
    bias: torch.Tensor | None = None,
    ignore_index: int = -100,
    temperature: Number = 1.0,
    softcap: Number | None = None,
    shift: int = 0,
    workspace: int | None = None,
) -> torch.Tensor:
    """Log-probability of each token under a linear head, whose logits never exist whole.

    ``log_softmax(hidden @ weight.T + bias)`` at the tokens: what preference optimization (DPO),
    policy gradients and distillation on given sequences differentiate. In the forward a chunk of
    rows is multiplied at a time, and in the backward again, with the gradients.

    Parameters
    ----------
    hidden : Tensor
        Shape (..., T, D): float32, float64, float16 or bfloat16.
    weight, bias : Tensor
        The head, shapes (V, D) and (V,).
    tokens : Tensor
        Shape (..., T), of any integer dtype.
    ignore_index : int
        Tokens of this value have the log-probability 0, and cost nothing.
    temperature, softcap, workspace
        As in `softstep.linear_cross_entropy`.
    shift : int
        How many positions ahead the tokens are: 1 scores ``tokens[..., 1:]`` by
        ``hidden[..., :-1, :]``.

    Returns
    -------
    Tensor
        Shape (..., T - shift), float32 for half precision. Gradients go to `hidden`, `weight`,
        `bias` and to numbers, any number of times.

    Raises
    ------
    IndexError, RuntimeError, TypeError, ValueError
        As `linear_cross_entropy`, where the tokens are the target.

    See Also
    --------
    linear_cross_entropy : the mean of what is here with the other sign.

    Examples
    --------
    >>> import torch
    >>> import softstep.torch as st
    >>> hidden = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    >>> result = st.log_probs(hidden, torch.eye(2), torch.tensor([0, -100]))
    >>> [round(value, 4) for value in result.tolist()]
    [-0.3133, 0.0]
    >>> result.sum().backward()
    >>> hidden.grad
    tensor([[ 0.2689, -0.2689],
            [ 0.0000,  0.0000]])
    """
    try:
        losses: torch.Tensor = linear_cross_entropy(
            hidden,
            weight,
            tokens,
            linear_bias=bias,
            reduction="none",
            ignore_index=ignore_index,
            temperature=temperature,
            softcap=softcap,
            shift=shift,
            workspace=workspace,
        )
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise renamed(error, _NAMES) from None
    return 0 - losses  # 0, not -0, where a token is ignored
