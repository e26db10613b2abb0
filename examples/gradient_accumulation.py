"""
Gradient accumulation
=====================

A batch that does not fit into memory is computed in parts. If each part's loss is divided by
*its* rows, rows of short parts count more; with padding in the batch, parts are never of one
size. Divided by the rows of the whole batch, the ``denominator``, the parts add up to the batch.
"""

import matplotlib.pyplot as plt
import numpy as np

import softstep as ss

# %%
# Sentences of 4 to 60 words are padded to 64 with the target -100, which is ignored.

rng = np.random.default_rng(0)
lengths = rng.integers(4, 61, size=8)
hidden = rng.normal(size=(8, 64, 32))
weight = rng.normal(scale=0.2, size=(500, 32))
target = np.where(np.arange(64) < lengths[:, None], rng.integers(500, size=(8, 64)), -100)

loss, whole = ss.linear_cross_entropy_with_grad(hidden, weight, target)

# %%
# Parts of two sentences. ``accumulate`` adds to the gradient that is there.

words = int((target != -100).sum())
accumulated, dweight = 0.0, np.zeros_like(weight)
means, dmeans = [], np.zeros_like(weight)
for part in np.split(np.arange(8), 4):
    loss_part, _ = ss.linear_cross_entropy_with_grad(
        hidden[part], weight, target[part], denominator=words, dweight=dweight, accumulate=True
    )
    accumulated += loss_part
    mean, gradients = ss.linear_cross_entropy_with_grad(hidden[part], weight, target[part])
    means.append(mean)
    dmeans += gradients.dweight / 4

right = np.abs(dweight - whole.dweight).max() / np.abs(whole.dweight).max()
wrong = np.abs(dmeans - whole.dweight).max() / np.abs(whole.dweight).max()
print(f"loss of the batch {loss:.6f}, of the parts {accumulated:.6f}")
print(f"mean of the parts' means {np.mean(means):.6f}")
print(f"largest error of the gradient: {right:.0e}; of the mean of means: {wrong:.0%}")

# %%

fig, (left, axes) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.bar(range(8), lengths, color=np.repeat(["C0", "C1", "C2", "C3"], 2))
left.set(xlabel="sentence (a colour for each part)", ylabel="words")
axes.plot(whole.dweight.ravel(), dmeans.ravel(), ".", markersize=2, label="mean of means")
axes.plot(whole.dweight.ravel(), dweight.ravel(), ".", markersize=2, label="denominator")
axes.set(xlabel="gradient of the batch", ylabel="gradient of the parts")
axes.legend(markerscale=5)
plt.show()
