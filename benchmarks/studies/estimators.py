"""Time until softstep's estimators have the held-out loss at which scikit-learn's end.

    python benchmarks/studies/estimators.py --problem digits
    python benchmarks/studies/estimators.py --problem synthetic --peer sag --peer-epochs 10

Each peer is fitted once, as it is by default or for so many epochs. Ours are fitted with more and
more epochs (`max_iter`) until their held-out loss is not above the peer's; that fit alone is then
timed, the median of three. Needs scikit-learn.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

import softstep.sklearn as sss

EPOCHS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 75, 100, 150, 200)
Problem = tuple[Any, Any, Any, Any]

PEERS: dict[str, tuple[Callable[[], Any], type]] = {
    "sag": (
        lambda: LogisticRegression(solver="sag", random_state=0),
        sss.SoftmaxRegression,
    ),
    "sgd": (lambda: SGDClassifier(loss="log_loss", random_state=0), sss.SoftmaxRegression),
    "mlp": (lambda: MLPClassifier(solver="sgd", random_state=0), sss.MLPClassifier),
}


def digits() -> Problem:
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order] / 16, y[order]
    return x[:1400], y[:1400], x[1400:], y[1400:]


def synthetic() -> Problem:
    """20 000 x 200, 50 classes, drawn from a multinomial logistic model."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((25_000, 200))
    logits = x @ rng.normal(scale=0.3, size=(200, 50))
    y = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    return x[:20_000], y[:20_000], x[20_000:], y[20_000:]


PROBLEMS = {"digits": digits, "synthetic": synthetic}


def fitted(model: Any, problem: Problem) -> tuple[float, float]:
    """Return the seconds of a fit and the held-out loss, of probabilities that were checked."""
    x, y, x_test, y_test = problem
    start = time.perf_counter()
    model.fit(x, y)
    seconds = time.perf_counter() - start
    probabilities = model.predict_proba(x_test)
    assert np.allclose(probabilities.sum(1), 1) and model.score(x_test, y_test) > 0.1
    return seconds, float(log_loss(y_test, probabilities))


def compare(name: str, peer: str, problem: Problem, peer_epochs: int | None) -> None:
    make, ours = PEERS[peer]
    theirs = make()
    if peer_epochs is not None:
        theirs.set_params(max_iter=peer_epochs)
    seconds, target = fitted(theirs, problem)
    epochs_done = np.max(theirs.n_iter_)
    print(f"{name} {peer}: scikit-learn {seconds:.3f} s, loss {target:.4f}", end=", ")
    print(f"{epochs_done} epochs", end="; ", flush=True)
    for epochs in EPOCHS:
        reached, loss = fitted(ours(max_iter=epochs, random_state=0), problem)
        if loss <= target:
            again = [fitted(ours(max_iter=epochs, random_state=0), problem)[0] for _ in range(2)]
            reached = statistics.median([reached, *again])
            print(f"softstep {reached:.3f} s, loss {loss:.4f}, {epochs} epochs", end="; ")
            print(f"x {seconds / reached:.1f}")
            return
    print("softstep never")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problem", choices=PROBLEMS, nargs="*", default=list(PROBLEMS))
    parser.add_argument("--peer", choices=PEERS, nargs="*", default=list(PEERS))
    parser.add_argument("--peer-epochs", type=int, help="the peers' max_iter")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name in arguments.problem:
        problem = PROBLEMS[name]()
        for peer in arguments.peer:
            compare(name, peer, problem, arguments.peer_epochs)


if __name__ == "__main__":
    main()
