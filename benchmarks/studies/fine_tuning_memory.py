"""The picture of docs/fine_tuning.md: the memory of a training step over its time.

    python benchmarks/studies/fine_tuning_memory.py [FILE.png]
        [--vocabulary 128256] [--features 512]

Two processes take a step each of the same Llama model, as it is and with `softstep.transformers`,
while a thread reads how much memory is resident. Linux; needs matplotlib.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

SEQUENCES, LENGTH = 4, 256
LABELS = {"plain": "with logits", "patched": "softstep.transformers.apply(model)"}


def resident() -> float:
    """Return the resident memory in GiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30


def watched(run: Any) -> list[tuple[float, float]]:
    """Call it; return (share of the time, GiB more than before)."""
    samples, done, before = [], threading.Event(), resident()
    start = time.perf_counter()

    def watch() -> None:
        while not done.wait(0.002):
            samples.append((time.perf_counter() - start, resident() - before))

    watcher = threading.Thread(target=watch)
    watcher.start()
    run()
    done.set()
    watcher.join()
    return [(at / samples[-1][0], more) for at, more in samples]


def measure(name: str, vocabulary: int, features: int) -> dict[str, Any]:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    import softstep.torch as st
    import softstep.transformers

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=features,
        intermediate_size=2 * features,
        num_hidden_layers=4,
        num_attention_heads=8,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).train()
    body = sum(p.numel() for p in model.parameters()) - vocabulary * features
    if name == "patched":
        softstep.transformers.apply(model)
    optimizer = st.AdamW(model.parameters(), lr=1e-4)
    tokens = torch.randint(vocabulary, (SEQUENCES, LENGTH))
    losses = []

    def step() -> None:
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)  # the gradients stay in memory
        losses.append(loss.item())

    step()
    return {"curve": watched(step), "losses": losses, "body": body}


def draw(results: dict[str, Any], logits: float, path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    for (name, result), colour in zip(results.items(), ("#e07b00", "#0b5394"), strict=True):
        x, y = zip(*result["curve"], strict=True)
        axes.plot(x, y, color=colour, label=LABELS[name], linewidth=1.8)
    axes.axhline(logits, color="0.6", linestyle=":", label="size of the logits")
    axes.set(xlabel="share of the step's time", ylabel="GiB more than before the step")
    axes.set(xlim=(0, 1), ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, default=Path("fine_tuning_memory.png"))
    parser.add_argument("--vocabulary", type=int, default=128_256)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--only", choices=list(LABELS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(measure(given.only, given.vocabulary, given.features)))
        return
    results = {}
    for name in LABELS:
        options = ["--vocabulary", str(given.vocabulary), "--features", str(given.features)]
        command = [sys.executable, __file__, *options, "--only", name]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        results[name] = json.loads(output.splitlines()[-1])
        peak, losses = max(y for _, y in results[name]["curve"]), results[name]["losses"]
        print(f"{LABELS[name]}: peak {peak:.3f} GiB more, losses {losses}")
    logits = SEQUENCES * LENGTH * given.vocabulary * 4 / 2**30
    body = results["plain"]["body"] / 1e6
    print(f"logits: {logits:.3f} GiB; {body:.1f} M parameters beside the head")
    draw(results, logits, given.file)


if __name__ == "__main__":
    main()
