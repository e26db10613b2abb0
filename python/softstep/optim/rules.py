"""The rules of the optimizers, as every front end knows them."""

from typing import NamedTuple


class Rule(NamedTuple):
    """What tells one optimizer from another, beside its options."""

    name: str  # in the extension
    states: tuple[str, ...]  # their names in PyTorch; a group uses the first ones, or none
    stepped: bool  # each parameter counts its steps
    option: str  # that only this rule has


SGD = Rule("sgd", ("momentum_buffer",), stepped=False, option="momentum")
ADAMW = Rule("adamw", ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), stepped=True, option="betas")
RULES = (SGD, ADAMW)
