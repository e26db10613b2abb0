"""
Preference optimization without logits
======================================

Direct preference optimization (DPO; Rafailov et al. 2023, https://arxiv.org/abs/2305.18290) trains
a language model on pairs of answers to a prompt, of which people prefer one:

.. math::

   L = -\\log \\sigma\\Big(\\beta \\Big[\\log \\frac{\\pi(y_w)}{\\pi_0(y_w)}
   - \\log \\frac{\\pi(y_l)}{\\pi_0(y_l)}\\Big]\\Big)

All it needs of a model are the log-probabilities of given tokens. ``softstep.torch.log_probs`` has
them, with their gradient, from the hidden states and the matrix of the last layer: the logits of
four passes, which are most of the memory, never exist.
"""

import copy

import matplotlib.pyplot as plt
import torch

import softstep.torch as st

VOCABULARY, WIDTH, PAIRS, LENGTH, ANSWER, BETA = 20_000, 64, 8, 64, 32, 0.1
WORKSPACE = 16 * 2**20

# %%
# A small language model; its head is the matrix of its embedding.


class LanguageModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCABULARY, WIDTH)
        self.layers = torch.nn.GRU(WIDTH, WIDTH, batch_first=True)
        torch.nn.init.normal_(self.embedding.weight, std=0.1)

    def forward(self, tokens):
        return self.layers(self.embedding(tokens))[0]


# %%
# Log-probabilities of the answers, once without logits and once as the formula says. The tokens
# of the prompt are marked by -100: they are not scored.


def without_logits(model, tokens, labels):
    head = model.embedding.weight
    return st.log_probs(model(tokens), head, labels, shift=1, workspace=WORKSPACE).sum(-1)


def with_logits(model, tokens, labels):
    logits = model(tokens)[:, :-1] @ model.embedding.weight.t()
    later = labels[:, 1:]
    logs = logits.log_softmax(-1).gather(-1, later.clamp(min=0)[..., None])[..., 0]
    return (logs * (later != -100)).sum(-1)


def margin(log_probs, model, reference, tokens, labels):
    """Of the rewards; the first half of the rows are the answers that are preferred."""
    with torch.no_grad():
        before = log_probs(reference, tokens, labels)
    chosen, rejected = (log_probs(model, tokens, labels) - before).chunk(2)
    return BETA * (chosen - rejected)


def dpo(*arguments):
    return -torch.nn.functional.logsigmoid(margin(*arguments)).mean()


# %%
# Pairs: an answer of even tokens is preferred to one of odd tokens.

generator = torch.Generator().manual_seed(0)


def batch():
    prompts = torch.randint(VOCABULARY, (PAIRS, LENGTH - ANSWER), generator=generator)
    answers = torch.randint(VOCABULARY // 2, (2 * PAIRS, ANSWER), generator=generator) * 2
    answers[PAIRS:] += 1
    tokens = torch.cat([prompts.repeat(2, 1), answers], 1)
    labels = tokens.clone()
    labels[:, : LENGTH - ANSWER] = -100
    return tokens, labels


# %%
# The same loss and gradients of a model that has moved away from its reference, and the memory of
# both. The peak of a process only grows, so the smaller one comes first.

torch.manual_seed(0)
reference = LanguageModel()
model = copy.deepcopy(reference)
for parameter in model.parameters():
    parameter.data += 0.02 * torch.randn_like(parameter)
tokens, labels = batch()


def peak():
    # Of Linux; ru_maxrss would begin with the peak of the process that started this one.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


results, start = [], peak()
for log_probs in (without_logits, with_logits):
    loss = dpo(log_probs, model, reference, tokens, labels)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    results.append((loss.item(), gradients))
    print(f"{log_probs.__name__}: loss {loss.item():.6f}, {peak() - start:.0f} MiB more")

(_, ours), (_, theirs) = results
apart = max((a - b).norm() / b.norm() for a, b in zip(ours, theirs, strict=True))
size = tokens.numel() * VOCABULARY * 4 / 2**20
print(f"largest difference of a gradient: {apart:.0e}; logits of one pass: {size:.0f} MiB")

# %%
# The training.

model.load_state_dict(reference.state_dict())
optimizer = st.AdamW(model.parameters(), lr=3e-3)
margins = []
for _ in range(40):
    tokens, labels = batch()
    found = margin(without_logits, model, reference, tokens, labels)
    loss = -torch.nn.functional.logsigmoid(found).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    margins.append(found.mean().item())

tokens, labels = batch()
right = (margin(without_logits, model, reference, tokens, labels) > 0).float().mean()
print(f"new pairs in the right order: {right:.2f}")

# %%

fig, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.plot(margins)
axes.set(xlabel="step", ylabel="margin of the rewards")
plt.show()
