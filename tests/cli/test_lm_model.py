"""The corpus of `softstep lm`, and the loss and gradients of its model, against definitions."""

from pathlib import Path

import numpy as np
import pytest

from softstep.cli.data.corpus import UNKNOWN, Corpus, read_corpus
from softstep.cli.language_model.heads import DenseHead, FusedHead, Head
from softstep.cli.language_model.model import LanguageModel, initial_lm
from softstep.cli.language_model.training import Settings, Trainer

TEXTS = {"a.txt": "x y, x\nz", "b.py": "def f_1(x):", "c/d.md": "x x w", "e.rst": "y ö"}
WORDS = [["x", "y", ",", "x", "z"], ["def", "f_1", "(", "x", ")", ":"], ["x", "x", "w"], ["y", "ö"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "ignored.csv").write_text("not read")
    return tmp_path


def corpus_of(folder: Path, most_words: int = 100, seed: int = 0) -> Corpus:
    return read_corpus(folder, most_words, 2, 0.2, np.random.default_rng(seed))


def sentences(corpus: Corpus, part: str) -> list[list[str]]:
    """Return the files of a part as words."""
    words = getattr(corpus, part).words.tolist()
    text = " ".join([*corpus.vocabulary, "<start>"][word] for word in words)
    return [file.split() for file in text.split("<start> <start>") if file]


def test_each_file_is_in_one_part(folder: Path) -> None:
    for seed in range(5):
        corpus = corpus_of(folder, seed=seed)
        train, test = sentences(corpus, "train"), sentences(corpus, "test")
        assert corpus.files == 4 and len(train) + len(test) == 4
        assert all(file in WORDS for file in train)
        known = {word for file in train for word in file}
        for file in test:
            # A word that the training part does not have is unknown.
            assert any(
                [word if word in known else UNKNOWN for word in words] == file for words in WORDS
            )
    assert sentences(corpus_of(folder), "test") == sentences(corpus_of(folder), "test")


def test_the_vocabulary_holds_the_most_frequent_words(folder: Path) -> None:
    corpus = corpus_of(folder, most_words=3)
    assert corpus.vocabulary[:2] == [UNKNOWN, "x"] and len(corpus.vocabulary) == 3
    words = corpus.train.words[corpus.train.positions]
    counts = np.bincount(words, minlength=3) + 1
    np.testing.assert_allclose(corpus.frequencies(), counts / counts.sum())


def test_a_context_ends_at_the_start_of_its_file(folder: Path) -> None:
    corpus = corpus_of(folder)
    start = len(corpus.vocabulary)
    context, target = corpus.train.batch(corpus.train.positions)
    expected = []
    for file in sentences(corpus, "train"):
        words = [start, start, *map(corpus.vocabulary.index, file)]
        expected += [(words[k - 2], words[k - 1], words[k]) for k in range(2, len(words))]
    assert [(*pair, word) for pair, word in zip(context.tolist(), target, strict=True)] == expected


def test_the_standard_library_has_20_000_words() -> None:
    corpus = read_corpus(None, 25_000, 4, 0.05, np.random.default_rng(0))
    assert corpus.files > 300 and len(corpus.vocabulary) >= 20_000
    assert len(corpus.train.positions) > 1_000_000
    assert 0.04 < len(corpus.test.positions) / len(corpus.train.positions) < 0.3
    assert corpus.test.unknown_share() < 0.2


def loss_of(p: dict[str, np.ndarray], context: np.ndarray, target: np.ndarray) -> float:
    """Return the mean loss in float64."""
    x = p["embedding"][context].reshape(len(target), -1)
    if "hidden_weight" in p:
        x = np.maximum(x @ p["hidden_weight"] + p["hidden_bias"], 0)
    logits = x @ p["head_weight"].T + p["head_bias"]
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-log_p[np.arange(len(target)), target].mean())


@pytest.mark.parametrize("hidden", [0, 6])
@pytest.mark.parametrize("head", [FusedHead(), DenseHead(9, 7)], ids=["fused", "dense"])
def test_the_gradients_are_the_derivatives_of_the_loss(
    hidden: int, head: Head, rng: np.random.Generator
) -> None:
    parameters = initial_lm(np.full(7, 1 / 7), 3, 4, hidden, rng)
    model = LanguageModel(parameters, 9, 3, head)
    for rows in (9, 5):  # the smaller batch must not see the words of the larger one
        context = rng.integers(8, size=(rows, 3)).astype(np.int32)
        target = rng.integers(7, size=rows)
        double = {name: array.astype(np.float64) for name, array in parameters.items()}
        loss = model.loss_with_gradients(context, target)
        assert loss == pytest.approx(loss_of(double, context, target), rel=1e-5)
        assert model.loss(context, target) == pytest.approx(rows * loss, rel=1e-5)
        for name, array in double.items():
            slope = np.empty_like(array)
            for index in np.ndindex(array.shape):
                kept = array[index]
                array[index] = kept + 1e-5
                above = loss_of(double, context, target)
                array[index] = kept - 1e-5
                slope[index] = (above - loss_of(double, context, target)) / 2e-5
                array[index] = kept
            np.testing.assert_allclose(model.gradients[name], slope, rtol=0, atol=1e-6)


def trainer(folder: Path, **changes: object) -> Trainer:
    defaults = {
        "vocabulary": 100, "context": 2, "embedding": 4, "hidden": 3, "steps": 4, "checkpoints": 9,
        "batch_size": 5, "lr": 1.0, "schedule": "constant", "momentum": 0.0, "max_norm": 1e9,
        "test_fraction": 0.2, "seed": 0, "dense": False,
    }  # fmt: skip
    rng = np.random.default_rng(0)
    return Trainer(Settings(**{**defaults, **changes}), corpus_of(folder), rng)


def test_a_training_starts_at_the_unigrams(folder: Path) -> None:
    run = trainer(folder)
    run.model.parameters["head_weight"][:] = 0
    part = run.corpus.test
    assert run.test_loss(part.positions) == pytest.approx(run.unigram_loss(), rel=1e-5)
    frequencies = run.corpus.frequencies()[part.words[part.positions]]
    assert run.unigram_loss() == pytest.approx(-np.log(frequencies).mean())


def test_every_word_is_trained_on_before_one_comes_again(folder: Path) -> None:
    run = trainer(folder)
    words = run.corpus.train.words[run.corpus.train.positions]
    seen = np.concatenate([run.batch(3)[1] for _ in range(2 * len(words) // 3)])
    for order in (seen[: len(words)], seen[len(words) : 2 * len(words)]):
        assert np.isin(order, words).all()
    assert sorted(seen[: len(words)]) == sorted(words)


def test_steps_are_gradient_steps_on_all_parameters(folder: Path) -> None:
    run, twin = trainer(folder), trainer(folder)
    checkpoints = list(run.checkpoints(lambda rows: None))
    assert [checkpoint.step for checkpoint in checkpoints] == [1, 2, 3, 4]
    for checkpoint in checkpoints:
        assert twin.model.loss_with_gradients(*twin.batch(5)) == checkpoint.train_loss
        for name, parameter in twin.model.parameters.items():
            parameter -= twin.model.gradients[name]
    for name, parameter in run.model.parameters.items():
        np.testing.assert_allclose(parameter, twin.model.parameters[name], rtol=0, atol=1e-6)
