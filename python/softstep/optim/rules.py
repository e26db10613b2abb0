"""The rules of the optimizers, as every front end knows them."""

from typing import NamedTuple


class Rule(NamedTuple):
    """What tells one optimizer from another, beside its options."""

    name: str  # in the extension
    states: tuple[str, ...]  # their names in PyTorch; a group uses the first ones, or none
    stepped: bool  # each parameter counts its steps


SGD = Rule("sgd", ("momentum_buffer",), stepped=False)
ADAMW = Rule("adamw", ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), stepped=True)
