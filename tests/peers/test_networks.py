"""scikit-learn's tests of its multi-layer perceptrons, for those of softstep.sklearn."""

from unittest import mock

import pytest

pytest.importorskip("sklearn", minversion="1.9")
pytest.importorskip("softstep.sklearn", exc_type=ImportError)
import sklearn.neural_network as theirs

from softstep.sklearn import MLPClassifier, MLPRegressor
from tests.peers.suite import cases_of, load

with mock.patch.multiple(theirs, MLPClassifier=MLPClassifier, MLPRegressor=MLPRegressor):
    module = load("sklearn.neural_network.tests.test_mlp")
# Many are of few epochs.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
PRIVATE = "reads attributes that are not public"
SEVERAL = "is of several labels a sample, which are refused"
LEFT_OUT = {
    "test_fit": "sets the weights of one output for two classes; here are two",
    "test_gradient": PRIVATE,
    "test_lbfgs_classification_maxfun": "expects no convergence in 10 evaluations; here is",
    "test_learning_rate_warmstart": PRIVATE,
    "test_multilabel_classification": SEVERAL,
    "test_partial_fit_regression": "takes the rate for constant by default; here it falls",
    "test_nonfinite_params": "expects its own message; tests/sklearn has such features",
    "test_predict_proba_multiclass": "expects log(p) to 1e-7 where p is rounded near 1",
    "test_predict_proba_multilabel": SEVERAL,
    "test_verbose_sgd": "expects its own progress, on stdout",
    "test_adaptive_learning_rate": PRIVATE,
    "test_n_iter_no_change": PRIVATE,
    "test_n_iter_no_change_inf": PRIVATE,
    "test_early_stopping_stratified": "expects a label as it is encoded inside",
    "test_mlp_diverging_loss": "expects a model that diverged; here is a ValueError",
    "test_mlp_vs_poisson_glm_equivalent": "is of Poisson's loss",
}
globals().update(cases_of(module, LEFT_OUT))
