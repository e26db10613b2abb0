"""Draw the pictures of docs/lecture.md: `python docs/pictures.py [FOLDER]`, docs/images by default.

Every curve is computed by the package. Needs matplotlib.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import softstep as ss

matplotlib.use("agg")

COLOURS = ["#0b5394", "#e07b00", "#38761d", "#a61c3c", "#674ea7"]
STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "font.size": 10,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
}


def two_panels() -> tuple[Figure, Axes, Axes]:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    return figure, left, right


def temperature() -> Figure:
    """Softmax of one row of logits: bars at a few temperatures, curves over all of them."""
    logits = np.array([2.0, 1.0, 0.0, -1.0, -2.0])
    figure, left, right = two_panels()

    shown = [0.25, 1.0, 4.0]
    for k, t in enumerate(shown):
        at = np.arange(logits.size) + (k - 1) * 0.27
        left.bar(at, ss.softmax(logits, temperature=t), 0.25, color=COLOURS[k], label=f"T = {t:g}")
    left.set_xticks(np.arange(logits.size), [f"{x:g}" for x in logits])
    left.set(xlabel="logit", ylabel="probability", title="softmax(logits / T)")
    left.grid(axis="x", visible=False)
    left.legend()

    t = np.geomspace(0.05, 50, 200)
    p = np.array([ss.softmax(logits, temperature=value) for value in t])
    for c, x in enumerate(logits):
        right.semilogx(t, p[:, c], color=COLOURS[c], label=f"logit {x:g}")
    right.axhline(1 / logits.size, color="0.5", linewidth=1, linestyle=":")
    right.text(60, 1 / logits.size + 0.02, "1/5", color="0.4", ha="right")
    right.set(xlabel="temperature T (the notes' T is 1/T)", title="cold: the largest; hot: equal")
    right.legend()
    return figure


def losses() -> Figure:
    """The three losses of one sample against the score of its true class, and their slopes."""
    figure, left, right = two_panels()
    score = np.linspace(-2.5, 3.5, 601)
    truth = np.ones_like(score)
    # Two classes with the logits (score, 0): the cross-entropy of the first is log(1 + e^-score).
    logits = np.stack([score, np.zeros_like(score)], axis=1)
    first = np.zeros(score.size, int)
    squared, dsquared = ss.squared_error_with_grad(score, truth, reduction="none")
    hinge, dhinge = ss.hinge_with_grad(score, truth, reduction="none")
    entropy, dlogits = ss.cross_entropy_with_grad(logits, first, reduction="none")
    curves = [
        ("squared error", squared, dsquared),
        ("hinge", hinge, dhinge),
        ("cross-entropy", entropy, dlogits[:, 0]),
    ]
    for colour, (name, loss, slope) in zip(COLOURS, curves, strict=False):
        left.plot(score, loss, color=colour, label=name)
        right.plot(score, slope, color=colour, label=name)
    left.set(ylim=(-0.1, 4), xlabel="score of the true class", title="loss")
    left.legend()
    right.set(ylim=(-4, 4), xlabel="score of the true class", title="derivative by the score")
    right.axhline(0, color="0.5", linewidth=1)
    return figure


def decayed(decay: float, steps: int) -> list[float]:
    """A weight that only decays: 1, then after each step with lr = 1 and no gradient."""
    weight, nothing = np.ones(1), np.zeros(1)
    optimiser = ss.SGD([weight], 1.0, weight_decay=decay)
    path = [1.0]
    for _ in range(steps):
        optimiser.step([nothing])
        path.append(float(weight[0]))
    return path


def features_of(x: np.ndarray) -> np.ndarray:
    """T_k(x) / (1 + k), k = 0 ... 15: the wilder the function, the larger its weight must be."""
    return np.polynomial.chebyshev.chebvander(x, 15) / np.arange(1, 17)


def fitted(x: np.ndarray, y: np.ndarray, lam: float) -> np.ndarray:
    """Weights of the features that minimise squared error + lam ||w||^2, by SGD with momentum."""
    features = features_of(x)
    weight = np.zeros(features.shape[1])
    optimiser = ss.SGD([weight], 0.02, momentum=0.95, weight_decay=2 * lam)
    for _ in range(40_000):
        _, dprediction = ss.squared_error_with_grad(features @ weight, y, reduction="sum")
        optimiser.step([features.T @ dprediction])
    return weight


def decay() -> Figure:
    """A weight under decay alone, and a curve fitted with and without a penalty."""
    figure, left, right = two_panels()
    steps = 25
    for colour, product in zip(COLOURS, [0.02, 0.1, 0.5, 0.95], strict=False):
        left.plot(decayed(product, steps), color=colour, label=f"{1 - product:.2f}")
    left.set(xlabel="step t", ylabel="w", title="$w_{t+1} = (1 - 2\\alpha\\lambda)\\, w_t$")
    left.set(ylim=(-0.05, 1.05))
    left.legend(title="$1 - 2\\alpha\\lambda$")

    rng = np.random.default_rng(1)
    x = np.linspace(-1, 1, 16)
    y = np.sin(3 * x) + rng.normal(scale=0.3, size=x.size)
    right.plot(x, y, "o", color="0.3", markersize=4)
    grid = np.linspace(-1, 1, 400)
    for colour, lam in zip(COLOURS, [0.0, 0.1, 1.0], strict=False):
        weight = fitted(x, y, lam)
        norm = ss.l2_penalty(weight, 1.0)
        curve = features_of(grid) @ weight
        right.plot(grid, curve, color=colour, label=f"λ = {lam:g}: ‖w‖² = {norm:.3g}")
    right.set(ylim=(-2, 2), xticks=[-1, 0, 1], xlabel="x", title="16 points, 16 weights")
    right.legend(loc="upper left")
    return figure


PICTURES = {"temperature.png": temperature, "losses.png": losses, "weight_decay.png": decay}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        with matplotlib.rc_context(STYLE):
            draw().savefig(folder / name, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images")
