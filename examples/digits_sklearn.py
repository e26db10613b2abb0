"""Handwritten digits by a network of one hidden layer: scikit-learn, with softstep's estimator.

    python examples/digits_sklearn.py

The same model is in digits_numpy.py, digits_torch.py and digits_jax.py.
"""

import numpy as np
from sklearn.datasets import load_digits

from softstep.sklearn import MLPClassifier  # was from sklearn.neural_network


def main() -> float:
    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x, y = (images[order] / 16).astype(np.float32), classes[order]
    test = slice(1400, None)

    model = MLPClassifier(
        hidden_layer_sizes=(128,),
        solver="sgd",
        learning_rate="constant",
        learning_rate_init=0.1,
        momentum=0.9,
        nesterovs_momentum=False,
        alpha=1e-4,
        batch_size=56,
        random_state=0,
    )
    for _ in range(20):
        model.partial_fit(x[:1400], y[:1400], classes=range(10))

    accuracy = float(model.score(x[test], y[test]))
    print(f"loss of the last epoch {model.loss_curve_[-1]:.4f}, test accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
