"""softstep for scikit-learn: classifiers trained by mini-batches, and the multinomial loss.

The estimators go wherever scikit-learn's go: pipelines, searches, calibration.
``docs/frameworks.md`` shows what to change and what differs. Needs scikit-learn 1.6 or later.
"""

try:
    from sklearn.utils.validation import validate_data as _validate_data  # noqa: F401
except ImportError as error:
    raise ImportError(
        "softstep.sklearn needs scikit-learn 1.6 or later: pip install 'scikit-learn>=1.6'"
    ) from error

from softstep.sklearn._loss import HalfMultinomialLoss
from softstep.sklearn._mlp_classifier import MLPClassifier
from softstep.sklearn._softmax_regression import SoftmaxRegression

__all__ = ["HalfMultinomialLoss", "MLPClassifier", "SoftmaxRegression"]


def __dir__() -> list[str]:
    return __all__
