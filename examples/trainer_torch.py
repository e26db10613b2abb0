"""
A trainer without Lightning
===========================

What people want of a trainer, in forty lines of PyTorch: a schedule, clipped gradients, steps
that are skipped when a gradient is not finite, accumulation over micro-batches, validation, a
checkpoint. softstep's optimizer clips and looks for infinities inside its one pass over the
gradients.
"""

import io

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

import softstep.torch as st


class Trainer:
    """Trains a classifier; `fit` may be called again, also after `load`."""

    def __init__(self, model, *, lr, epochs, micro_batches=2):
        self.model, self.epochs, self.micro_batches = model, epochs, micro_batches
        self.optimizer = st.AdamW(
            model.parameters(), lr, weight_decay=0.01, max_norm=1.0, skip_nonfinite=True
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, epochs)
        self.epoch, self.history = 0, []

    def fit(self, batches, validation, until=None):
        while self.epoch < (until or self.epochs):
            losses = [self.step(x, y) for x, y in batches]
            self.schedule.step()
            self.epoch += 1
            self.history.append((np.mean(losses), *self.validate(*validation)))

    def step(self, x, y):
        total = 0.0
        for part in torch.arange(len(x)).chunk(self.micro_batches):
            # Divided by the rows of the whole batch, so that the gradients add up to its gradient.
            loss = st.cross_entropy(self.model(x[part]), y[part], denominator=len(x))
            loss.backward()
            total += loss.item()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return total

    @torch.no_grad()
    def validate(self, x, y):
        logits = self.model(x)
        loss = st.cross_entropy(logits, y)
        return loss.item(), (logits.argmax(1) == y).double().mean().item()

    def save(self, file):
        parts = {
            name: getattr(self, name).state_dict() for name in ("model", "optimizer", "schedule")
        }
        torch.save({**parts, "epoch": self.epoch, "history": self.history}, file)

    def load(self, file):
        saved = torch.load(file, weights_only=False)
        for name in ("model", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(saved[name])
        self.epoch, self.history = saved["epoch"], saved["history"]


# %%
# Half of a training, a checkpoint, and the rest by another trainer.

images, classes = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
x, y = torch.from_numpy((images[order] / 16).astype(np.float32)), torch.from_numpy(classes[order])
batches = list(zip(x[:1400].split(100), y[:1400].split(100), strict=True))
validation = x[1400:], y[1400:]


def new_trainer():
    torch.manual_seed(0)
    layers = torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
    return Trainer(torch.nn.Sequential(*layers), lr=1e-2, epochs=20)


whole = new_trainer()
whole.fit(batches, validation)

first, checkpoint = new_trainer(), io.BytesIO()
first.fit(batches, validation, until=10)
first.save(checkpoint)
checkpoint.seek(0)
second = new_trainer()
second.load(checkpoint)
second.fit(batches, validation)

same = all(
    torch.equal(a, b)
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True)
)
accuracy = second.history[-1][2]
print(f"validation accuracy {accuracy:.3f}; weights of the resumed training equal: {same}")

# %%

fig, axes = plt.subplots(figsize=(6, 3), layout="constrained")
train, held_out, _ = zip(*second.history, strict=True)
axes.semilogy(train, label="training")
axes.semilogy(held_out, label="validation")
axes.axvline(9.5, color="0.6", linestyle=":", label="checkpoint")
axes.set(xlabel="epoch", ylabel="loss")
axes.legend()
plt.show()
