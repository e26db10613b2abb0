"""
Distillation from a teacher's largest probabilities
===================================================

A teacher labels images that nobody has labelled. Of its probabilities only the three largest are
kept, which is all that is stored of a teacher with a large vocabulary: their classes and their
masses are the target.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier

import softstep as ss

images, classes = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
x, y = (images[order] / 16).astype(np.float32), classes[order]
labelled, unlabelled, test = slice(0, 60), slice(0, 1400), slice(1400, None)

# %%
# The teacher has seen all labels. A few more rows, and the student could do without it.

teacher = ExtraTreesClassifier(200, random_state=0).fit(x[:1400], y[:1400])
probabilities = teacher.predict_proba(x[:1400]).astype(np.float32)
top = np.argsort(-probabilities, axis=1)[:, :3]
mass = np.take_along_axis(probabilities, top, axis=1)
mass /= mass.sum(axis=1, keepdims=True)
print(f"numbers kept of each row: {2 * top.shape[1]} instead of {probabilities.shape[1]}")

# %%
# The student is one layer. It is trained on 60 labels, and then without labels on what the teacher
# says.


def train(x, target, **options):
    w, b = np.zeros((64, 10), np.float32), np.zeros(10, np.float32)
    optimizer = ss.AdamW([w, b], 2e-2, weight_decay=1e-3)
    curve = []
    for _ in range(300):
        logits = x @ w + b
        _, dlogits = ss.cross_entropy_with_grad(logits, target, out=logits, **options)
        optimizer.step([x.T @ dlogits, dlogits.sum(0)])
        guess = (images[order][test] / 16 @ w + b).argmax(1)
        curve.append(float((guess == y[test]).mean()))
    return curve


alone = train(x[labelled], y[labelled])
distilled = train(x[unlabelled], top, target_probabilities=mass)
print(f"test accuracy: 60 labels {alone[-1]:.3f}, distilled {distilled[-1]:.3f}")

# %%

fig, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.plot(alone, label="60 labels")
axes.plot(distilled, label="the teacher's three largest")
axes.axhline(teacher.score(x[test], y[test]), color="0.5", linestyle=":", label="the teacher")
axes.set(xlabel="step", ylabel="test accuracy", ylim=(0.6, 1.0))
axes.legend(loc="lower right")
plt.show()
