"""
Digits on many processes
========================

::

    mpiexec -n 2 python examples/digits_mpi.py
    torchrun --nproc-per-node=2 examples/digits_mpi.py
    python examples/digits_mpi.py

The same program on MPI, on torch.distributed or alone, with the same result but for roundings.
Each rank takes its rows of every batch; the optimizer sums the gradients and keeps a part of its
state on each rank.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import softstep as ss
from softstep.distributed import ShardedOptimizer, communicator, even_shard

comm = communicator()

images, classes = load_digits(return_X_y=True)
rng = np.random.default_rng(0)  # the same on every rank
order = rng.permutation(len(images))
x, y = images[order] / 16, classes[order]
x_train, y_train, x_test, y_test = x[:1400], y[:1400], x[1400:], y[1400:]

# %%
# The gradients are written into the optimizer's own buffers, from which they are sent.

w1 = rng.normal(scale=64**-0.5, size=(64, 128))
w2 = rng.normal(scale=128**-0.5, size=(128, 10))
b1, b2 = np.zeros(128), np.zeros(10)
optimizer = ShardedOptimizer(
    [w1, b1, w2, b2], ss.SGD, 0.1, comm=comm, momentum=0.9, weight_decay=1e-4
)
dw1, db1, dw2, db2 = optimizer.grads

losses = []
for _ in range(20):
    for batch in np.split(rng.permutation(1400), 25):
        mine = even_shard(len(batch), comm)
        rows = batch[mine.begin : mine.end]
        hidden = np.maximum(x_train[rows] @ w1 + b1, 0)
        logits = hidden @ w2 + b2
        # Divided by the rows of the whole batch: the gradients add up to its gradient.
        loss, dlogits = ss.cross_entropy_with_grad(
            logits, y_train[rows], denominator=mine.total, out=logits
        )
        dhidden = (dlogits @ w2.T) * (hidden > 0)
        np.matmul(x_train[rows].T, dhidden, out=dw1)
        np.sum(dhidden, axis=0, out=db1)
        np.matmul(hidden.T, dlogits, out=dw2)
        np.sum(dlogits, axis=0, out=db2)
        optimizer.step()
        total = np.array([loss])
        comm.all_reduce(total)
        losses.append(float(total[0]))

logits = np.maximum(x_test @ w1 + b1, 0) @ w2 + b2
accuracy = float((logits.argmax(1) == y_test).mean())
if comm.rank == 0:
    print(f"loss of the last batch {losses[-1]:.4f}, test accuracy {accuracy:.3f}")

# %%

if comm.rank == 0:
    fig, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    axes.semilogy(losses)
    axes.set(xlabel="step", ylabel="loss of the batch", title=f"ranks: {comm.size}")
    plt.show()
