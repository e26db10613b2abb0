"""Small problems whose answers are known, or are computed in float64 beside them."""

from typing import Any

import numpy as np
from sklearn.datasets import load_digits, load_iris, load_wine


def classified(classes: int = 3, n: int = 90, seed: int = 0) -> tuple[Any, Any]:
    """Drawn from a multinomial logistic model, so that classes overlap."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    logits = x @ rng.normal(size=(4, classes)) + rng.normal(size=classes)
    return x, np.array(list("abcdefg"))[(logits + rng.gumbel(size=(n, classes))).argmax(1)]


def numbers(n: int = 120, targets: int = 1, seed: int = 0) -> tuple[Any, Any]:
    """Linear in features of very different sizes, far from 0, with noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)) * [1e-3, 1, 5, 1e2, 1e4] + [0, 3, 0, 1e3, 1e5]
    z = (x - x.mean(0)) / x.std(0)
    y = 5e4 + 1e3 * (z @ rng.normal(size=(5, targets)) + 0.3 * rng.normal(size=(n, targets)))
    return x, y[:, 0] if targets == 1 else y


def confused(rows: int = 300) -> tuple[Any, Any]:
    """Labels that features tell little of: at a high rate the loss is all noise."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, 9)) * np.logspace(-2, 3, 9)
    return x, (x[:, 0] / 1e-2 + 3 * rng.normal(size=rows) > 0).astype(int)


def tables() -> dict[str, tuple[Any, Any]]:
    """Of scikit-learn's and of the above, as they are: not scaled."""
    digits = load_digits(return_X_y=True)
    return {
        "iris": load_iris(return_X_y=True),
        "wine": load_wine(return_X_y=True),
        "digits": (digits[0][:500], digits[1][:500]),
        "overlapping": classified(4, 200),
        "confused": confused(),
    }
