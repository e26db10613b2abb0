"""softstep for scikit-learn: its estimators on softstep's losses, and the multinomial loss.

The estimators go wherever scikit-learn's go: pipelines, searches, calibration.
``docs/frameworks.md`` shows what to change and what differs. Needs scikit-learn 1.6 or later.
"""

try:
    from sklearn.utils.validation import validate_data as _validate_data  # noqa: F401
except ImportError as error:
    raise ImportError(
        "softstep.sklearn needs scikit-learn 1.6 or later: pip install 'scikit-learn>=1.6'"
    ) from error

from softstep.sklearn._logistic_regression import LogisticRegression
from softstep.sklearn._loss import HalfMultinomialLoss
from softstep.sklearn._mlp_classifier import MLPClassifier
from softstep.sklearn._mlp_regressor import MLPRegressor
from softstep.sklearn._sgd import SGDClassifier, SGDRegressor
from softstep.sklearn._softmax_regression import SoftmaxRegression

__all__ = [
    "HalfMultinomialLoss",
    "LogisticRegression",
    "MLPClassifier",
    "MLPRegressor",
    "SGDClassifier",
    "SGDRegressor",
    "SoftmaxRegression",
]


def __dir__() -> list[str]:
    return __all__
