"""scikit-learn's tests of its losses, for softstep.sklearn.HalfMultinomialLoss."""

from unittest import mock

import pytest

pytest.importorskip("sklearn", minversion="1.9")
pytest.importorskip("softstep.sklearn", exc_type=ImportError)
import sklearn._loss.loss as theirs

from softstep.sklearn import HalfMultinomialLoss
from tests.peers.suite import cases_of, load

NAME = "multinomial_loss"
with (
    mock.patch.object(theirs, "HalfMultinomialLoss", HalfMultinomialLoss),
    mock.patch.object(theirs, "_LOSSES", {NAME: HalfMultinomialLoss}),
):
    module = load("sklearn._loss.tests.test_loss")
# The lists that the tests' parameters are.
module.LOSS_INSTANCES[:] = [HalfMultinomialLoss()]
OTHER = "is of other losses"
LEFT_OUT = {
    "test_binomial_vs_alternative_formulation": OTHER,
    "test_cy_loss_classes_module": "is of scikit-learn's compiled losses",
    "test_derivatives": OTHER,
    "test_log1pexp": "is of a function of scikit-learn's own",
    "test_loss_array_api": "is of the losses for other libraries' arrays",
    "test_loss_init_parameter_validation": OTHER,
    "test_specific_fit_intercept_only": OTHER,
    "test_tweedie_log_identity_consistency": OTHER,
}
globals().update(cases_of(module, LEFT_OUT))
