"""
The head of a language model
============================

The last layer of a language model has an output for every word.
``linear_cross_entropy_with_grad`` takes the hidden states and the matrix of that layer and gives
the loss and the gradients of both; the logits of a batch never exist as a whole.
"""

import re
import sysconfig
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import softstep as ss
from softstep import schedules

# %%
# The text: modules of Python's standard library, which every machine has. A word is a run of
# letters, or one other sign.

library = Path(sysconfig.get_path("stdlib"))
text = "\n".join(file.read_text("utf-8") for file in sorted(library.glob("[a-d]*.py")))
words = re.findall(r"\w+|[^\w\s]", text)
vocabulary = {word: k for k, (word, _) in enumerate(Counter(words).most_common(8000))}
ids = np.array([vocabulary.get(word, 0) for word in words])
held_out = ids[-10_000:]
ids = ids[:-10_000]
print(f"{len(ids)} words to train on, a vocabulary of {len(vocabulary)}")

# %%
# The model: the embeddings of the two words before, side by side, are the hidden state. The bias
# starts as the logarithm of the frequencies, so that the training starts at what a count of words
# knows.

WIDTH, BATCH, STEPS = 32, 1024, 150
rng = np.random.default_rng(0)
embedding = rng.normal(scale=0.3, size=(len(vocabulary), WIDTH)).astype(np.float32)
head = np.zeros((len(vocabulary), 2 * WIDTH), np.float32)
bias = np.log(np.bincount(ids, minlength=len(vocabulary)) + 1).astype(np.float32)
rate = schedules.cosine(1e-2, steps=STEPS)
optimizer = ss.AdamW([embedding, head, bias], rate, weight_decay=0.0)
gradients = [np.zeros_like(embedding), np.zeros_like(head), np.zeros_like(bias)]
dembedding, dhead, dbias = gradients


def loss_of(ids):
    context = np.stack([ids[:-2], ids[1:-1]], axis=1)
    return ss.linear_cross_entropy(
        embedding[context].reshape(-1, 2 * WIDTH), head, ids[2:], bias=bias
    )


unigrams = loss_of(held_out)
losses = []
for _ in range(STEPS):
    place = rng.integers(2, len(ids), BATCH)
    context = ids[place[:, None] + [-2, -1]]
    hidden = embedding[context].reshape(BATCH, 2 * WIDTH)
    loss, (dhidden, _, _) = ss.linear_cross_entropy_with_grad(
        hidden, head, ids[place], bias=bias, dweight=dhead, dbias=dbias
    )
    np.add.at(dembedding, context, dhidden.reshape(BATCH, 2, WIDTH))
    optimizer.step(gradients, zero_grads=True)
    losses.append(loss)

loss = loss_of(held_out)
perplexity, baseline = np.exp(loss), np.exp(unigrams)
print(f"perplexity of the held-out words {perplexity:.0f}, by their frequencies {baseline:.0f}")

# %%
# What the logits of a batch and their gradient would take, and what the head takes beside its
# results when it is held to 8 MiB: the loss is the same.

dense = 2 * BATCH * len(vocabulary) * 4 / 2**20
small, _ = ss.linear_cross_entropy_with_grad(
    hidden, head, ids[place], bias=bias, workspace=8 * 2**20
)
whole = ss.cross_entropy(hidden @ head.T + bias, ids[place])
print(f"dense: {dense:.0f} MiB, loss {whole:.4f}; in 8 MiB: loss {small:.4f}")

# %%

fig, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.plot(losses, label="loss of the batch")
axes.axhline(unigrams, color="0.5", linestyle=":", label="held out, by frequencies")
axes.axhline(loss, color="C1", label="held out, at the end")
axes.set(xlabel="step", ylabel="nats per word")
axes.legend()
plt.show()
