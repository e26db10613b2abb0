"""Handwritten digits by a network of one hidden layer: NumPy and softstep.

    python examples/digits_numpy.py

The same model is in digits_torch.py, digits_jax.py and digits_sklearn.py. Needs scikit-learn
for its data.
"""

import numpy as np
from sklearn.datasets import load_digits

import softstep as ss


def main() -> float:
    images, classes = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))
    x, y = (images[order] / 16).astype(np.float32), classes[order]
    test = slice(1400, None)

    w1 = rng.normal(scale=64**-0.5, size=(64, 128)).astype(np.float32)
    w2 = rng.normal(scale=128**-0.5, size=(128, 10)).astype(np.float32)
    b1, b2 = np.zeros(128, np.float32), np.zeros(10, np.float32)
    optimizer = ss.SGD([w1, b1, w2, b2], lr=0.1, momentum=0.9, weight_decay=1e-4)

    for _ in range(20):
        for batch in np.split(rng.permutation(1400), 25):
            hidden = np.maximum(x[batch] @ w1 + b1, 0)
            logits = hidden @ w2 + b2
            loss, dlogits = ss.cross_entropy_with_grad(logits, y[batch], out=logits)
            dhidden = (dlogits @ w2.T) * (hidden > 0)
            optimizer.step(
                [x[batch].T @ dhidden, dhidden.sum(0), hidden.T @ dlogits, dlogits.sum(0)]
            )

    logits = np.maximum(x[test] @ w1 + b1, 0) @ w2 + b2
    accuracy = float((logits.argmax(1) == y[test]).mean())
    print(f"loss of the last batch {loss:.4f}, test accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
