"""
Digits in PyTorch
=================

The model of :ref:`sphx_glr_gallery_digits_numpy.py` with two changes to a program that is
PyTorch's own: the loss and the optimizer come from ``softstep.torch``.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

import softstep.torch as st

images, classes = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
x, y = torch.from_numpy((images[order] / 16).astype(np.float32)), torch.from_numpy(classes[order])
x_train, y_train, x_test, y_test = x[:1400], y[:1400], x[1400:], y[1400:]

# %%
# ``inplace=True`` lets the gradient overwrite the logits, which nothing else needs here.

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
criterion = st.CrossEntropyLoss(inplace=True)  # was torch.nn.CrossEntropyLoss()
optimizer = st.SGD(
    model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4
)  # was torch.optim.SGD

losses = []
for _ in range(20):
    for batch in torch.randperm(1400).split(56):
        loss = criterion(model(x_train[batch]), y_train[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

with torch.no_grad():
    accuracy = (model(x_test).argmax(1) == y_test).double().mean().item()
print(f"loss of the last batch {losses[-1]:.4f}, test accuracy {accuracy:.3f}")

# %%

fig, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.semilogy(losses)
axes.set(xlabel="step", ylabel="loss of the batch", title="softstep.torch")
plt.show()
