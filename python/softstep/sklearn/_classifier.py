"""Classifiers: labels, probabilities, class weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

import softstep as ss
import softstep._core as _core
from softstep._typing import FloatArray
from softstep.sklearn._estimator import NetworkEstimator
from softstep.sklearn._score import class_indices
from softstep.sklearn._targets import Targets
from softstep.training.losses import HINGE, Loss, cross_entropy


def _gives_probabilities(classifier: Any) -> bool:
    """Raise what says why there is no such method."""
    if getattr(classifier, "loss", "log_loss") == "log_loss":
        return True
    raise AttributeError(
        f"probability estimates are not available for loss={classifier.loss!r}: expected 'log_loss'"
    )


def is_incremental(estimator: Any) -> bool:
    """Raise what says why there is no such method."""
    if getattr(estimator, "solver", "sgd") != "lbfgs":
        return True
    raise AttributeError(
        "partial_fit is only available for stochastic optimizers, got solver='lbfgs'"
    )


class Classifier(ClassifierMixin, NetworkEstimator):  # type: ignore[misc]
    """Predicts classes, by a softmax or, with one of the hinges, by scores."""

    # Fewer are refused: by linear models with a name of scikit-learn, as there.
    _least_classes = 1

    @available_if(_gives_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> FloatArray:
        """Return the probabilities of the classes, shape (n, C), in the order of `classes_`."""
        logits = self._outputs(X)
        return ss.softmax(logits, out=logits)

    @available_if(_gives_probabilities)  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> FloatArray:
        """Return the logarithms of the probabilities, finite where these underflow."""
        logits = self._outputs(X)
        return ss.log_softmax(logits, out=logits)

    def predict(self, X: Any) -> Any:
        """Return the most probable class of each row."""
        indices = class_indices(self._outputs(X))
        return self.classes_[indices]

    def _encoded(self, y: Any, dtype: Any, warm: bool) -> Targets:
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        if warm and not np.array_equal(classes, self.classes_):
            raise ValueError(
                "y: warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {classes}"
            )
        return self._classified(labels, classes, dtype, warm)

    def _classified(self, labels: Any, classes: Any, dtype: Any, warm: bool) -> Targets:
        if len(classes) < self._least_classes:
            raise ValueError(
                f"y: expected {self._least_classes} classes or more, got one class: {classes[0]!r}"
            )
        loss = getattr(self, "loss", None)
        one_score = loss == "hinge" and len(classes) == 2
        outputs = 1 if one_score else len(classes)
        if warm and outputs != self.n_outputs_:
            raise ValueError(
                f"loss: expected that of the previous call for two classes, got {loss!r}"
            )
        values = (2.0 * labels - 1).astype(dtype)[:, None] if one_score else labels
        return Targets(values, outputs, classes, labels)

    def _loss(self, targets: Targets) -> Loss:
        if getattr(self, "loss", None) == "hinge":
            return HINGE
        return cross_entropy(getattr(self, "label_smoothing", 0.0))

    def _class_weights(self, targets: Targets) -> Any:
        if self.class_weight is None:
            return None
        y = targets.classes[targets.labels]
        by_class = compute_class_weight(self.class_weight, classes=targets.classes, y=y)
        return by_class[targets.labels]


class IncrementalClassifier(Classifier):
    """A classifier with `partial_fit`."""

    @available_if(is_incremental)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """Go over `X` once, from where the parameters and the optimizer are.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array_like
            All classes that will ever come; needed in the first call.

        Returns
        -------
        The estimator.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight: 'balanced' needs all of y, which partial_fit does not see; pass the "
                "weights as a dict"
            )
        _core.refuse_masked(classes, "classes")
        first = not hasattr(self, "classes_")
        if first and classes is None:
            raise ValueError("classes: expected all classes in the first call to partial_fit")
        known = np.unique(classes) if first else self.classes_
        if not first and classes is not None and not np.array_equal(np.unique(classes), known):
            raise ValueError(f"classes: expected those of the first call, {known}")
        return self._go_over(X, y, sample_weight, first, partial(self._among, known, first))

    def _among(self, known: Any, first: bool, y: Any, dtype: Any) -> Targets:
        check_classification_targets(y)
        labels = np.searchsorted(known, y)
        strange = known[np.minimum(labels, len(known) - 1)] != y
        if np.any(strange):
            raise ValueError(f"y: expected classes in {known}, got {np.unique(y[strange])}")
        return self._classified(labels, known, dtype, warm=not first)
