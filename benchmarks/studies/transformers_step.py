"""A training step of a Hugging Face language model, unpatched and with `softstep.transformers`.

    python benchmarks/studies/transformers_step.py
        [--models gpt2 llama] [--dtypes float32 bfloat16] [--contenders eager compile patched adamw]
        [--length 256] [--threads 2] [--steps 3] [--rounds 2] [--cpu] [--json FILE]

Each run is a process of its own, for its peak memory; the contenders take turns. Weights and tokens
are random and the same for all: 4 sequences of --length tokens. The parts of a step are timed alone
the head with its loss, forward and backward from given hidden states; and the optimizer's step.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SEQUENCES = 4
CONTENDERS = {
    "eager": "transformers as it is, torch.optim.AdamW",
    "compile": "torch.compile(model), torch.optim.AdamW",
    "patched": "softstep.transformers.apply(model), torch.optim.AdamW",
    "adamw": "softstep.transformers.apply(model), softstep.torch.AdamW",
}
PARTS = ("step", "head and loss", "optimizer")
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
LLAMA = {
    "vocab_size": 128_256,
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 8,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "tie_word_embeddings": True,
}


def build(name: str, dtype: Any) -> Any:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    if name == "gpt2":  # the sizes of its default: 124 M parameters, a vocabulary of 50 257
        return GPT2LMHeadModel(GPT2Config(**NO_DROPOUT)).to(dtype)
    return LlamaForCausalLM(LlamaConfig(**LLAMA)).to(dtype)


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Return seconds on the clock and of the CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(
    contender: str, name: str, dtype: str, length: int, steps: int, threads: int
) -> dict[str, Any]:
    import torch
    from torch.nn.functional import cross_entropy

    import softstep
    import softstep.torch as st
    import softstep.transformers

    torch.set_num_threads(threads)
    softstep.set_num_threads(threads)
    model = build(name, getattr(torch, dtype)).train()
    ours = contender in ("patched", "adamw")
    if ours:
        softstep.transformers.apply(model)
    called = torch.compile(model) if contender == "compile" else model
    kind = st.AdamW if contender == "adamw" else torch.optim.AdamW
    optimizer = kind(model.parameters(), lr=1e-4, weight_decay=0.01)
    generator = torch.Generator().manual_seed(1)
    vocabulary = model.config.vocab_size
    tokens = torch.randint(vocabulary, (SEQUENCES, length), generator=generator)
    seconds: dict[str, list[tuple[float, float]]] = {part: [] for part in PARTS}
    losses = []

    def step() -> None:
        loss = called(input_ids=tokens, labels=tokens).loss
        loss.backward()
        losses.append(loss.item())
        seconds["optimizer"].append(timed(optimizer.step))
        optimizer.zero_grad()

    for _ in range(1 + steps):
        seconds["step"].append(timed(step))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

    head = model.get_output_embeddings()
    hidden = torch.randn((SEQUENCES, length, head.in_features), generator=generator)
    hidden = hidden.to(head.weight.dtype).requires_grad_()

    def of_head() -> None:
        if ours:
            loss = st.linear_cross_entropy(hidden, head.weight, tokens, shift=1)
        else:
            logits = head(hidden).float()[:, :-1]
            loss = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()

    for _ in range(1 + steps):
        seconds["head and loss"].append(timed(of_head))
        hidden.grad = head.weight.grad = None
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "logits": tokens.numel() * vocabulary * head.weight.element_size() / 2**30,
        "losses": losses,
        "seconds": {part: samples[1:] for part, samples in seconds.items()},
        "peak": peak,
    }


def table(runs: dict[str, list[dict[str, Any]]], clock: int) -> None:
    first = next(iter(runs.values()))[0]
    print(f"{first['parameters'] / 1e6:.0f} M parameters; logits {first['logits']:.2f} GiB")
    print(f"{'':10} {'s/step':>8} {'head, loss':>11} {'optimizer':>10} {'peak GiB':>9} {'loss':>9}")
    for name, results in runs.items():
        median = {
            part: statistics.median(s[clock] for r in results for s in r["seconds"][part])
            for part in PARTS
        }
        peak = min(result["peak"] for result in results)
        print(
            f"{name:10} {median['step']:8.2f} {median['head and loss']:11.2f} "
            f"{median['optimizer']:10.3f} {peak:9.2f} {results[0]['losses'][-1]:9.4f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["gpt2", "llama"])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cpu", action="store_true", help="seconds of the CPU, on a busy machine")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        (model,), (dtype,) = given.models, given.dtypes
        print(
            json.dumps(measure(given.only, model, dtype, given.length, given.steps, given.threads))
        )
        return
    found: dict[str, Any] = {}
    for model in given.models:
        for dtype in given.dtypes:
            runs: dict[str, Any] = {name: [] for name in given.contenders}
            for turn in range(given.rounds):
                order = list(runs) if turn % 2 == 0 else list(runs)[::-1]
                for name in order:
                    options = ["--models", model, "--dtypes", dtype, "--steps", str(given.steps)]
                    options += ["--length", str(given.length), "--threads", str(given.threads)]
                    options += ["--only", name]
                    command = [sys.executable, __file__, *options]
                    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                    runs[name].append(json.loads(output.stdout.splitlines()[-1]))
            found[f"{model}, {dtype}"] = runs
            print(f"\n{model}, {dtype}, {given.threads} threads: ", end="")
            table(runs, int(given.cpu))
            sys.stdout.flush()
            if given.json:
                given.json.write_text(json.dumps(found))
    for name in given.contenders:
        print(f"{name:10} {CONTENDERS[name]}")


if __name__ == "__main__":
    main()
