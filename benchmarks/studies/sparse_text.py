"""Time and memory of fits to sparse features: TF-IDF of text that every machine has.

    python benchmarks/studies/sparse_text.py [--documents N] [--columns N] [--only NAME ...]

Documents are pieces of the Python sources that are installed here, their classes the 20 packages
with the most of them; words and pairs of words make the columns. Each estimator is fitted in a
process of its own, with its defaults or what is named; memory is the peak above what the data take.
Needs scikit-learn.
"""

import argparse
import multiprocessing
import sys
import sysconfig
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.linear_model as theirs
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import log_loss

import softstep.sklearn as ours
from softstep.training.memory import with_peak

LINES = 40
CLASSES = 20
ESTIMATORS = {
    "scikit-learn LogisticRegression": lambda: theirs.LogisticRegression(),
    "softstep LogisticRegression": lambda: ours.LogisticRegression(),
    "scikit-learn SGDClassifier log_loss": lambda: theirs.SGDClassifier("log_loss", random_state=0),
    "softstep SGDClassifier log_loss": lambda: ours.SGDClassifier("log_loss", random_state=0),
    "softstep SGDClassifier hinge": lambda: ours.SGDClassifier(random_state=0),
    "softstep SoftmaxRegression": lambda: ours.SoftmaxRegression(random_state=0),
    "softstep MLPClassifier 5 epochs": lambda: ours.MLPClassifier(max_iter=5, random_state=0),
}


def documents(count: int) -> tuple[list[str], list[str]]:
    """Return pieces of sources and the packages that they are of."""
    folders = {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}
    folders |= {Path(p) for p in sys.path if p.endswith("site-packages")}
    pieces: list[tuple[str, str]] = []
    for folder in sorted(folders):
        for path in sorted(folder.rglob("*.py")):
            package = path.relative_to(folder).parts[0]
            lines = path.read_text(errors="replace").splitlines()
            if package != "site-packages":
                parts = range(0, len(lines), LINES)
                pieces += [("\n".join(lines[k : k + LINES]), package) for k in parts]
    common = {name for name, _ in Counter(name for _, name in pieces).most_common(CLASSES)}
    pieces = [piece for piece in pieces if piece[1] in common]
    order = np.random.default_rng(0).permutation(len(pieces))[:count]
    texts, labels = zip(*[pieces[k] for k in order], strict=True)
    return list(texts), list(labels)


def fitted(name: str, data: Any, results: Any) -> None:
    x, y, x_test, y_test = data
    model = ESTIMATORS[name]()
    warnings.simplefilter("ignore", ConvergenceWarning)
    start = time.perf_counter()
    _, peak = with_peak(lambda: model.fit(x, y))
    seconds = time.perf_counter() - start
    loss = np.nan
    if hasattr(model, "predict_proba"):
        loss = log_loss(y_test, model.predict_proba(x_test))
    results.put((seconds, peak, model.score(x_test, y_test), loss, np.max(model.n_iter_)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--columns", type=int, default=100_000)
    parser.add_argument("--only", choices=ESTIMATORS, nargs="*", default=list(ESTIMATORS))
    args = parser.parse_args()
    texts, labels = documents(args.documents)
    x = TfidfVectorizer(max_features=args.columns, ngram_range=(1, 2)).fit_transform(texts)
    y, held_out = np.array(labels), len(texts) // 5
    data = x[held_out:], y[held_out:], x[:held_out], y[:held_out]
    dense = x.shape[0] * x.shape[1] * 8 / 2**30
    print(
        f"{x.shape[0]} x {x.shape[1]}, {x.nnz} values; dense {dense:.1f} GiB; {held_out} held out"
    )
    print("| estimator | s | MiB | epochs | accuracy | log loss |\n|---|---:|---:|---:|---:|---:|")
    context = multiprocessing.get_context("fork")
    for name in args.only:
        results = context.SimpleQueue()
        process = context.Process(target=fitted, args=(name, data, results))
        process.start()
        seconds, peak, accuracy, loss, epochs = results.get()
        process.join()
        memory = "" if peak is None else f"{peak / 2**20:.0f}"
        cells = [f"{seconds:.1f}", memory, str(epochs), f"{accuracy:.3f}", f"{loss:.3f}"]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
