"""scikit-learn's tests of its logistic regression, for softstep.sklearn.LogisticRegression."""

from unittest import mock

import pytest

pytest.importorskip("sklearn", minversion="1.9")
pytest.importorskip("softstep.sklearn", exc_type=ImportError)
import sklearn.linear_model as theirs

from softstep.sklearn import LogisticRegression
from tests.peers.suite import cases_of, load

with mock.patch.object(theirs, "LogisticRegression", LogisticRegression):
    module = load("sklearn.linear_model.tests.test_logistic")
pytestmark = [
    module.pytestmark,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
CV = "is of LogisticRegressionCV"
PATH = "is of scikit-learn's path of several C"
L1 = "is of the l1 penalty"
SOLVER = "is of what one of its solvers does or cannot do; all names are one here"
DEPRECATED = "is of a deprecation of scikit-learn's"
LEFT_OUT = {
    "test_check_solver_option": SOLVER,
    "test_elasticnet_l1_ratio_err_helpful": L1,
    "test_sparsify": "is of a sparse coef_",
    "test_consistency_path": PATH,
    "test_logistic_regression_path_convergence_fail": PATH,
    "test_liblinear_dual_random_state": SOLVER,
    "test_logistic_cv": CV,
    "test_logistic_cv_refit_false_non_elasticnet": CV,
    "test_logistic_cv_mock_scorer": CV,
    "test_logistic_cv_multinomial_score": CV,
    "test_multinomial_cv_iris": CV,
    "test_logistic_cv_folds_with_classes_missing": CV,
    "test_logistic_cv_sparse": CV,
    "test_logistic_regressioncv_class_weights": CV,
    "test_logistic_regression_sample_weights[cv]": CV,
    "test_sample_and_class_weight_equivalence_liblinear": L1,
    "test_logreg_l1": L1,
    "test_logistic_regression_cv_refit": CV,
    "test_logreg_predict_proba_multinomial": "calls a method that is not public",
    **{
        f"test_max_iter[{solver}]": "expects the message of one of its solvers"
        for solver in ("newton-cg", "liblinear", "sag", "saga", "newton-cholesky")
    },
    "test_n_iter": CV,
    "test_warm_start_newton_solver": SOLVER,
    "test_saga_vs_liblinear[1]": L1,
    "test_dtype_match[liblinear]": SOLVER,
    "test_elastic_net_coeffs": L1,
    "test_elastic_net_l1_l2_equivalence": L1,
    "test_elastic_net_vs_l1_l2": L1,
    "test_LogisticRegression_elastic_net_objective": L1,
    "test_LogisticRegressionCV_GridSearchCV_elastic_net": CV,
    "test_LogisticRegressionCV_no_refit": CV,
    "test_LogisticRegressionCV_elasticnet_attribute_shapes": CV,
    "test_LogisticRegressionCV_on_folds": CV,
    "test_l1_ratio_non_elasticnet": L1,
    "test_elastic_net_versus_sgd": L1,
    "test_logistic_regression_path_coefs_multinomial": PATH,
    "test_logistic_regression_path_init_coefs": PATH,
    "test_logisticregression_liblinear_sample_weight": L1,
    "test_scores_attribute_layout_elasticnet": CV,
    **{f"test_large_sparse_matrix[{solver}]": SOLVER for solver in ("liblinear", "sag", "saga")},
    "test_liblinear_with_large_values": SOLVER,
    "test_liblinear_not_stuck": L1,
    "test_lr_cv_scores_differ_when_sample_weight_is_requested": CV,
    "test_lr_cv_scores_without_enabling_metadata_routing": CV,
    "test_passing_params_without_enabling_metadata_routing": CV,
    "test_newton_cholesky_fallback_to_lbfgs": SOLVER,
    "test_liblinear_multiclass_raises": SOLVER,
    "test_penalty_deprecated": DEPRECATED,
    "test_logisticregressioncv_warns_with_use_legacy_attributes": CV,
    "test_l1_ratio_None_deprecated": DEPRECATED,
    "test_logisticregression_warns_with_n_jobs": DEPRECATED,
    "test_logistic_regression_array_api_compliance": "is of other libraries' arrays",
    "test_lr_penalty_l1ratio_incompatible": L1,
    "test_lr_scoring_warns": CV,
    "test_get_default_scorer": CV,
    "test_logistic_regression_array_api_warm_start": "is of other libraries' arrays",
    "test_logistic_regression_callback_support": "is of callbacks",
    "test_logistic_regression_callback_fitted_estimator": "is of callbacks",
    "test_logistic_regression_callback_support_warning": "is of callbacks",
}
globals().update(cases_of(module, LEFT_OUT))
