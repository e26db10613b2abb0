"""Handwritten digits by a network of one hidden layer: JAX, with softstep's loss.

    python examples/digits_jax.py

The same model is in digits_numpy.py, digits_torch.py and digits_sklearn.py. Needs scikit-learn
for its data, and a softstep that is built with SOFTSTEP_JAX=1.
"""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import softstep.jax as ssj

LR, MOMENTUM, DECAY = 0.1, 0.9, 1e-4


def logits_of(params, x):
    w1, b1, w2, b2 = params
    return jax.nn.relu(x @ w1 + b1) @ w2 + b2


def loss_of(params, x, y):
    # was optax.softmax_cross_entropy_with_integer_labels(logits_of(params, x), y).mean()
    return ssj.cross_entropy(logits_of(params, x), y, reduction="mean")


@jax.jit
def step(params, velocity, x, y):
    loss, gradients = jax.value_and_grad(loss_of)(params, x, y)
    velocity = jax.tree.map(
        lambda v, g, p: MOMENTUM * v + g + DECAY * p, velocity, gradients, params
    )
    return jax.tree.map(lambda p, v: p - LR * v, params, velocity), velocity, loss


def main() -> float:
    images, classes = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))
    x, y = (images[order] / 16).astype(np.float32), classes[order]
    test = slice(1400, None)

    w1 = rng.normal(scale=64**-0.5, size=(64, 128)).astype(np.float32)
    w2 = rng.normal(scale=128**-0.5, size=(128, 10)).astype(np.float32)
    params = [jnp.asarray(p) for p in (w1, np.zeros(128, np.float32), w2, np.zeros(10, np.float32))]
    velocity = [jnp.zeros_like(p) for p in params]

    for _ in range(20):
        for batch in np.split(rng.permutation(1400), 25):
            params, velocity, loss = step(params, velocity, x[batch], y[batch])

    accuracy = float((logits_of(params, x[test]).argmax(1) == y[test]).mean())
    print(f"loss of the last batch {loss:.4f}, test accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
