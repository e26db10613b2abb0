"""
Digits in a scikit-learn pipeline
=================================

The estimators of ``softstep.sklearn`` go where scikit-learn's go: behind a scaler, and into a
search over the penalty.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softstep.sklearn import MLPClassifier  # was from sklearn.neural_network

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x.astype(np.float32), y, random_state=0)

# %%

model = MLPClassifier(hidden_layer_sizes=(128,), tol=1e-3, random_state=0)
search = GridSearchCV(
    make_pipeline(StandardScaler(), model), {"mlpclassifier__alpha": [1e-4, 1e-2, 1.0]}, cv=3
)
search.fit(x_train, y_train)
accuracy = float(search.score(x_test, y_test))
print(f"best penalty {search.best_params_['mlpclassifier__alpha']}, test accuracy {accuracy:.3f}")

# %%

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
left.semilogy(search.best_estimator_[-1].loss_curve_)
left.set(xlabel="epoch", ylabel="loss")
ConfusionMatrixDisplay.from_estimator(
    search, x_test, y_test, ax=right, colorbar=False, cmap="Blues"
)
plt.show()
