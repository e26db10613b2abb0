"""
Class weights on an imbalanced table
====================================

Of 20 000 rows 2 % belong to the class that matters. Trained on the plain mean, a classifier
hardly ever names it. Class weights turn the exchange rate: more of the rare rows are found, at
the price of false alarms. The focal loss (``gamma``) only takes weight from rows that are easy.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split

import softstep as ss

x, y = make_classification(
    20_000, 20, n_informative=6, weights=[0.98], flip_y=0.005, class_sep=0.8, random_state=0
)
x_train, x_test, y_train, y_test = train_test_split(x, y, stratify=y, random_state=0)
counts = np.bincount(y_train)
print(f"rows to train on: {counts[0]} and {counts[1]}")

# %%
# ``weight`` has a number for each class. Here each class counts as much as the other in the end;
# the mean is over the weights, so that the size of the steps stays.


def train(**options):
    w, b = np.zeros((20, 2)), np.zeros(2)
    optimizer = ss.SGD([w, b], 0.5, momentum=0.9, weight_decay=1e-4)
    for _ in range(200):
        logits = x_train @ w + b
        _, dlogits = ss.cross_entropy_with_grad(logits, y_train, out=logits, **options)
        optimizer.step([x_train.T @ dlogits, dlogits.sum(0)])
    return ss.softmax(x_test @ w + b)[:, 1]


scores = {
    "plain mean": train(),
    "focal loss, gamma = 2": train(gamma=2.0),
    "weights 1 : 7": train(weight=[1.0, 7.0]),
    "balanced weights": train(weight=len(y_train) / (2 * counts)),
}

# %%

rare = y_test == 1
recalls, alarms = {}, {}
for name, score in scores.items():
    named = score > 0.5
    recalls[name] = named[rare].mean()
    alarms[name] = named[~rare].mean()
    print(f"{name:22} found {recalls[name]:.0%} of the rare rows, false alarms {alarms[name]:.1%}")

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained", sharey=True)
left.barh(list(recalls), list(recalls.values()), color="C0")
left.set(xlabel="of the rare rows found", xlim=(0, 1))
left.invert_yaxis()
right.barh(list(alarms), list(alarms.values()), color="C1")
right.set(xlabel="false alarms, of the other rows")
right.locator_params(axis="x", nbins=5)
plt.show()
