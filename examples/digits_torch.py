"""Handwritten digits by a network of one hidden layer: PyTorch, with softstep's loss and optimizer.

    python examples/digits_torch.py

The same model is in digits_numpy.py, digits_jax.py and digits_sklearn.py. Needs scikit-learn
for its data.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits

import softstep.torch as st


def main() -> float:
    images, classes = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))
    x, y = (
        torch.from_numpy((images[order] / 16).astype(np.float32)),
        torch.from_numpy(classes[order]),
    )
    test = slice(1400, None)

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    criterion = st.CrossEntropyLoss(inplace=True)  # was torch.nn.CrossEntropyLoss()
    optimizer = st.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)

    for _ in range(20):
        for batch in torch.from_numpy(rng.permutation(1400)).split(56):
            loss = criterion(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    with torch.no_grad():
        accuracy = (model(x[test]).argmax(1) == y[test]).double().mean().item()
    print(f"loss of the last batch {loss.item():.4f}, test accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
