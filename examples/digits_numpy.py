"""
Digits in NumPy
===============

Handwritten digits by a network of one hidden layer, trained by a plain loop: NumPy's products,
softstep's loss and optimizer. The same model in :ref:`PyTorch
<sphx_glr_gallery_digits_torch.py>`, :ref:`JAX <sphx_glr_gallery_digits_jax.py>` and
:ref:`scikit-learn <sphx_glr_gallery_digits_sklearn.py>`.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import softstep as ss

images, classes = load_digits(return_X_y=True)
rng = np.random.default_rng(0)
order = rng.permutation(len(images))
x, y = (images[order] / 16).astype(np.float32), classes[order]
x_train, y_train, x_test, y_test = x[:1400], y[:1400], x[1400:], y[1400:]

# %%
# The parameters are arrays, and the optimizer updates them where they lie.

w1 = rng.normal(scale=64**-0.5, size=(64, 128)).astype(np.float32)
w2 = rng.normal(scale=128**-0.5, size=(128, 10)).astype(np.float32)
b1, b2 = np.zeros(128, np.float32), np.zeros(10, np.float32)
optimizer = ss.SGD([w1, b1, w2, b2], lr=0.1, momentum=0.9, weight_decay=1e-4)

# %%
# Loss and gradient come from one pass over the logits, which the gradient overwrites:
# ``out=logits``. What is left of the backward pass are the products of the two layers.

losses = []
for _ in range(20):
    for batch in np.split(rng.permutation(1400), 25):
        hidden = np.maximum(x_train[batch] @ w1 + b1, 0)
        logits = hidden @ w2 + b2
        loss, dlogits = ss.cross_entropy_with_grad(logits, y_train[batch], out=logits)
        dhidden = (dlogits @ w2.T) * (hidden > 0)
        optimizer.step(
            [x_train[batch].T @ dhidden, dhidden.sum(0), hidden.T @ dlogits, dlogits.sum(0)]
        )
        losses.append(loss)

logits = np.maximum(x_test @ w1 + b1, 0) @ w2 + b2
guess = logits.argmax(1)
accuracy = float((guess == y_test).mean())
print(f"loss of the last batch {losses[-1]:.4f}, test accuracy {accuracy:.3f}")

# %%
# The least certain of the test images, by the entropy of their probabilities.

fig, (left, *right) = plt.subplots(
    1, 5, figsize=(9, 2.6), width_ratios=[3, 1, 1, 1, 1], layout="constrained"
)
left.semilogy(losses)
left.set(xlabel="step", ylabel="loss of the batch")
probabilities = ss.softmax(logits)
for axes, k in zip(right, np.argsort(-ss.entropy(logits)), strict=False):
    axes.imshow(x_test[k].reshape(8, 8), cmap="gray_r")
    axes.set(
        xticks=[],
        yticks=[],
        title=f"{y_test[k]}; guess {guess[k]}\np = {probabilities[k].max():.2f}",
    )
plt.show()
