"""
Digits in JAX with Optax
========================

The model of :ref:`sphx_glr_gallery_digits_numpy.py` in a jitted step: softstep's loss, Optax's
optimizer. XLA calls the kernels itself.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import softstep.jax as ssj

images, classes = load_digits(return_X_y=True)
rng = np.random.default_rng(0)
order = rng.permutation(len(images))
x, y = (images[order] / 16).astype(np.float32), classes[order]
x_train, y_train, x_test, y_test = x[:1400], y[:1400], x[1400:], y[1400:]

# %%
# ``reduction="mean"`` computes loss and gradient in one pass, where ``.mean()`` of losses takes
# two.


def logits_of(params, x):
    w1, b1, w2, b2 = params
    return jax.nn.relu(x @ w1 + b1) @ w2 + b2


def loss_of(params, x, y):
    # was optax.softmax_cross_entropy_with_integer_labels(logits_of(params, x), y).mean()
    return ssj.cross_entropy(logits_of(params, x), y, reduction="mean")


optimizer = optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(0.1, momentum=0.9))


@jax.jit
def step(params, state, x, y):
    loss, gradients = jax.value_and_grad(loss_of)(params, x, y)
    updates, state = optimizer.update(gradients, state, params)
    return optax.apply_updates(params, updates), state, loss


# %%

w1 = rng.normal(scale=64**-0.5, size=(64, 128)).astype(np.float32)
w2 = rng.normal(scale=128**-0.5, size=(128, 10)).astype(np.float32)
params = [jnp.asarray(p) for p in (w1, np.zeros(128, np.float32), w2, np.zeros(10, np.float32))]
state = optimizer.init(params)

losses = []
for _ in range(20):
    for batch in np.split(rng.permutation(1400), 25):
        params, state, loss = step(params, state, x_train[batch], y_train[batch])
        losses.append(float(loss))

accuracy = float((logits_of(params, x_test).argmax(1) == y_test).mean())
print(f"loss of the last batch {losses[-1]:.4f}, test accuracy {accuracy:.3f}")

# %%

fig, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.semilogy(losses)
axes.set(xlabel="step", ylabel="loss of the batch", title="softstep.jax")
plt.show()
