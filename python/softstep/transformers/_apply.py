"""Give a model the loss without logits, and take it back."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel
from transformers.loss.loss_utils import ForCausalLMLoss

from softstep.transformers._head import Head
from softstep.transformers._transform import measure

Model = TypeVar("Model", bound=torch.nn.Module)


@dataclass
class _Patch:
    """What a patched model carries, as `_softstep`."""

    head: Head | None  # None after `revert`, where another wrapper still calls `ours`
    eval_logits: bool
    inner: Any  # the forward that was there, bound
    ours: Any  # the function that was put there
    names: tuple[str, ...]


def apply(model: Model, *, eval_logits: bool = False) -> Model:
    """Let a causal language model compute its loss without its logits; returns the model.

    Called with ``labels``, it returns the loss of `softstep.torch.linear_cross_entropy`, and
    ``logits=None``. Without labels nothing changes: ``generate`` and whatever else needs logits
    gets them.

    Parameters
    ----------
    model : transformers.PreTrainedModel or peft.PeftModel
        A decoder whose head is a `torch.nn.Linear` and whose loss is transformers'
        ``ForCausalLMLoss``. Between them it may scale its logits, and cap them by tanh; what it
        does is found out by a run on two tokens. Changed in place, but for its parameters.
    eval_logits : bool
        Return the logits, as without softstep, when the model is in ``eval()`` mode: for a metric
        that is computed from them, such as ``compute_metrics`` of the Trainer.

    Returns
    -------
    Model
        `model`, of the same class.

    Raises
    ------
    TypeError
        `model` is no model of transformers.
    ValueError
        It has no such head or loss, or does more between them.

    See Also
    --------
    revert : take it back.
    applied : the same for the length of a ``with``.

    Notes
    -----
    The loss is that of the model to rounding: its mean over the tokens that are not -100, or their
    sum over ``num_items_in_batch``. A frozen head costs no gradient of its weights. Under autocast
    the operands are cast as those of a linear layer.

    Examples
    --------
    >>> import torch
    >>> import softstep.transformers
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> config = GPT2Config(vocab_size=100, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    >>> model = softstep.transformers.apply(GPT2LMHeadModel(config))
    >>> tokens = torch.arange(12).view(2, 6)
    >>> output = model(tokens, labels=tokens)
    >>> output.loss.shape, output.logits, model(tokens).logits.shape
    (torch.Size([]), None, torch.Size([2, 6, 100]))
    """
    owner = _owner(model)
    patch: _Patch | None = vars(owner).get("_softstep")
    if patch is not None and patch.head is not None:
        revert(owner)
        patch = vars(owner).get("_softstep")
    head = _head(owner)
    transform = measure(owner, head)
    if patch is None:
        ours, names = _forward_of(owner)
        inner = vars(owner).get("forward", MethodType(type(owner).forward, owner))
        patch = owner._softstep = _Patch(None, eval_logits, inner, ours, names)
        owner.forward = MethodType(ours, owner)
    head.__class__ = Head
    head.transform = transform
    owner.loss_function = head.loss
    patch.head, patch.eval_logits = head, eval_logits
    return model


def revert(model: Model) -> Model:
    """Take back what `apply` has changed; nothing if it was not applied.

    Parameters
    ----------
    model : transformers.PreTrainedModel or peft.PeftModel
        What `apply` was given, or what it has been wrapped in by PEFT since.

    Returns
    -------
    Model
        `model`.

    Examples
    --------
    >>> import softstep.transformers
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> config = GPT2Config(vocab_size=100, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    >>> model = softstep.transformers.apply(GPT2LMHeadModel(config))
    >>> type(softstep.transformers.revert(model).lm_head)
    <class 'torch.nn.modules.linear.Linear'>
    """
    owner = _owner(model)
    patch: _Patch | None = vars(owner).get("_softstep")
    if patch is None or patch.head is None:
        return model
    head: Any = patch.head
    patch.head = None
    head.__class__ = torch.nn.Linear
    for name in ("transform", "asked", "kept"):
        vars(head).pop(name, None)
    del owner._loss_function
    if getattr(vars(owner).get("forward"), "__func__", None) is patch.ours:
        del owner.forward, owner._softstep
        if patch.inner != owner.forward:
            owner.forward = patch.inner
    return model


@contextmanager
def applied(model: Model, *, eval_logits: bool = False) -> Iterator[Model]:
    """`apply` for the length of a ``with``.

    Parameters
    ----------
    model, eval_logits
        As for `apply`.

    Examples
    --------
    >>> import torch
    >>> from softstep.transformers import applied
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> config = GPT2Config(vocab_size=100, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    >>> model, tokens = GPT2LMHeadModel(config), torch.arange(12).view(2, 6)
    >>> with applied(model):
    ...     print(model(tokens, labels=tokens).logits)
    None
    """
    apply(model, eval_logits=eval_logits)
    try:
        yield model
    finally:
        revert(model)


def _owner(model: Any) -> Any:
    """Return the model of transformers, out of PEFT's."""
    owner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if isinstance(owner, PreTrainedModel):
        return owner
    raise TypeError(
        f"model: expected a PreTrainedModel of transformers, or a PEFT model of one, got "
        f"{type(model).__name__}; give the model before it is compiled or wrapped"
    )


def _head(owner: Any) -> Any:
    """Return the layer of the logits."""
    name = type(owner).__name__
    if owner.config.is_encoder_decoder:
        raise ValueError(f"model: expected a decoder, got the encoder and decoder {name}")
    head = _of_peft(owner.get_output_embeddings())
    if head is None:
        raise ValueError(f"model: expected a language-model head, {name} has none")
    if type(head) is not torch.nn.Linear or "forward" in vars(head):
        raise ValueError(
            f"model: expected a torch.nn.Linear as the head, {name} has a "
            f"{type(head).__module__}.{type(head).__qualname__}. An adapter or a quantization of "
            "the head has to leave it out, or be merged before"
        )
    if head.weight.is_meta:
        raise ValueError(f"model: expected weights in memory, those of {name} are on meta")
    if owner.loss_function is not ForCausalLMLoss:
        loss = getattr(owner.loss_function, "__name__", owner.loss_function)
        raise ValueError(f"model: expected the loss ForCausalLMLoss, {name} has {loss}")
    return head


def _of_peft(head: Any) -> Any:
    """Return the layer that is trained, of PEFT's ``modules_to_save``."""
    if hasattr(head, "modules_to_save"):
        return head.modules_to_save[head.active_adapters[0]]
    return head


def _forward_of(owner: Any) -> tuple[Any, tuple[str, ...]]:
    """Return the forward to be put there, and the names of its arguments."""
    signature = inspect.signature(type(owner).forward)

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _call(self, self._softstep, args, kwargs)

    # The Trainer and `generate` look into it. No `__wrapped__`, through which Accelerate would
    # find the forward inside.
    forward.__signature__ = signature  # type: ignore[attr-defined]
    forward.__doc__ = type(owner).forward.__doc__
    return forward, tuple(signature.parameters)[1:]


def _call(model: Any, patch: _Patch, args: Any, kwargs: dict[str, Any]) -> Any:
    kwargs.update(zip(patch.names[: len(args)], args, strict=True))
    head = patch.head
    with_logits = patch.eval_logits and not model.training
    if head is None or with_logits or kwargs.get("labels") is None:
        return patch.inner(**kwargs)
    if _of_peft(model.get_output_embeddings()) is not head:
        raise RuntimeError(
            "softstep.transformers: the head was replaced or wrapped since apply(model), by new "
            "tokens or an adapter; call revert(model) before that and apply(model) after"
        )
    return_dict = kwargs.pop("return_dict", None)
    if return_dict is None:
        return_dict = model.config.return_dict
    head.asked = True
    try:
        output = patch.inner(**kwargs, return_dict=True)
    finally:
        head.asked, head.kept = False, None
    output = type(output)(**{**output, "logits": None})
    return output if return_dict else output.to_tuple()
