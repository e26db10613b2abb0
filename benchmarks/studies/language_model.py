"""A training step of a small transformer, with PyTorch's loss and optimizer and with softstep's.

    python benchmarks/studies/language_model.py [--steps 50] [--rounds 3]

Each run is a process of its own, for its peak memory; the runs take turns. The model, its weights
and the data are the same; only the head with its loss and the optimizer differ.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

VOCABULARY, FEATURES, HEADS, LAYERS = 32_768, 256, 4, 2
SEQUENCES, LENGTH = 6, 64
CONTENDERS = {
    "torch": "F.cross_entropy of nn.Linear, torch.optim.AdamW",
    "torch-fused": "the same with torch.optim.AdamW(fused=True)",
    "softstep": "softstep.torch.linear_cross_entropy, softstep.torch.AdamW",
}


class Block(nn.Module):
    """Attention to what came before, then a layer for each position."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(FEATURES), nn.LayerNorm(FEATURES)
        self.qkv = nn.Linear(FEATURES, 3 * FEATURES, bias=False)
        self.mix = nn.Linear(FEATURES, FEATURES, bias=False)
        self.up, self.down = nn.Linear(FEATURES, 4 * FEATURES), nn.Linear(4 * FEATURES, FEATURES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, HEADS, d // HEADS).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(y.transpose(1, 2).reshape(b, t, d))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class LanguageModel(nn.Module):
    """Tokens to features; `head` holds the weights of the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, FEATURES)
        self.places = nn.Embedding(LENGTH, FEATURES)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(FEATURES)
        self.head = nn.Linear(FEATURES, VOCABULARY, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(x.shape[1])
        return self.norm(self.blocks(self.tokens(x) + self.places(places)))


def batches(count: int) -> list[torch.Tensor]:
    """Sequences in which a token tells much of the next one."""
    generator = torch.Generator().manual_seed(1)
    following = torch.randint(0, VOCABULARY, (VOCABULARY, 4), generator=generator)
    result = []
    for _ in range(count):
        tokens = torch.empty(SEQUENCES, LENGTH + 1, dtype=torch.long)
        tokens[:, 0] = torch.randint(0, 1000, (SEQUENCES,), generator=generator)
        for t in range(LENGTH):
            choice = torch.randint(0, 4, (SEQUENCES,), generator=generator)
            tokens[:, t + 1] = following[tokens[:, t], choice]
        result.append(tokens)
    return result


def loss_and_optimizer(name: str, model: LanguageModel) -> tuple[Callable[..., Any], Any]:
    options: dict[str, Any] = {"lr": 3e-4, "weight_decay": 0.01}
    f, weight = nn.functional, model.head.weight
    if name == "softstep":
        import softstep.torch as st

        optimizer = st.AdamW(model.parameters(), **options)
        return lambda h, t: st.linear_cross_entropy(h, weight, t), optimizer
    optimizer = torch.optim.AdamW(model.parameters(), fused=name == "torch-fused", **options)
    return lambda h, t: f.cross_entropy(model.head(h).flatten(0, 1), t.flatten()), optimizer


def train(name: str, steps: int) -> dict[str, Any]:
    """Return losses, seconds of the steps, and the peak memory in MiB."""
    torch.manual_seed(0)
    model = LanguageModel()
    loss_of, optimizer = loss_and_optimizer(name, model)
    losses, seconds = [], []
    for tokens in batches(steps):
        start = time.perf_counter()
        loss = loss_of(model(tokens[:, :-1]), tokens[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"losses": losses, "seconds": seconds[3:], "peak": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(train(arguments.only, arguments.steps)))
        return
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for _ in range(arguments.rounds):
        for name in CONTENDERS:
            command = [sys.executable, __file__, "--only", name, "--steps", str(arguments.steps)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            runs[name].append(json.loads(output))
    expected = runs["torch"][0]["losses"]
    size = SEQUENCES * LENGTH
    print(f"{size} tokens a step, vocabulary {VOCABULARY}, {FEATURES} features, {LAYERS} layers")
    print(f"{'':12} {'ms/step':>8} {'peak MiB':>9} {'largest difference of the loss':>31}")
    for name, results in runs.items():
        step = statistics.median(s for result in results for s in result["seconds"])
        peak = min(result["peak"] for result in results)
        apart = max(abs(a - b) for a, b in zip(results[0]["losses"], expected, strict=True))
        print(f"{name:12} {1000 * step:8.1f} {peak:9.0f} {apart:31.1e}   {CONTENDERS[name]}")


if __name__ == "__main__":
    main()
