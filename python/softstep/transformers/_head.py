"""The head of a model: a linear layer that can leave its product to the loss."""

from typing import Any

import torch
from transformers.loss.loss_utils import ForCausalLMLoss

from softstep.torch import linear_cross_entropy
from softstep.transformers._transform import Transform


class Head(torch.nn.Linear):
    """The layer that the model had, with its parameters: `apply` changes its class.

    While `asked`, `forward` keeps its input and returns logits of no classes. The model does with
    them what it does with logits, and `loss` computes from what was kept.
    """

    transform: Transform
    asked: bool = False
    kept: torch.Tensor | None = None

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the logits, or while `asked` none of them."""
        if not self.asked:
            return super().forward(input)
        self.kept = input
        return input.new_empty((*input.shape[:-1], 0))

    def loss(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        vocab_size: int,
        num_items_in_batch: Any = None,
        ignore_index: int = -100,
        shift_labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Return `ForCausalLMLoss` of transformers, from what `forward` has kept if it has."""
        if self.kept is None:
            result: torch.Tensor = ForCausalLMLoss(
                logits, labels, vocab_size, num_items_in_batch, ignore_index, shift_labels, **kwargs
            )
            return result
        hidden, weight, bias = _of_autocast(self.kept, self.weight, self.bias)
        target, shift = labels, 1
        if shift_labels is not None:
            target, shift = shift_labels.reshape(hidden.shape[:-1]), 0
        options: dict[str, Any] = {"reduction": "mean"}
        after = None
        if num_items_in_batch is not None:
            if torch.compiler.is_compiling():  # where a tensor has no number
                options, after = {"reduction": "sum"}, num_items_in_batch
            else:  # 0 as a mean over no rows, NaN
                options = {"denominator": float(num_items_in_batch) or None}
        loss: torch.Tensor = linear_cross_entropy(
            hidden,
            weight,
            target.to(hidden.device),
            linear_bias=bias,
            ignore_index=ignore_index,
            shift=shift,
            temperature=self.transform.temperature,
            softcap=self.transform.softcap,
            **options,
        )
        return loss if after is None else loss / after


def _of_autocast(*tensors: Any) -> Any:
    """Return the operands as `torch.nn.functional.linear` would have them."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(None if tensor is None else tensor.to(dtype) for tensor in tensors)
