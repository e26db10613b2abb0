"""Small models of every family, with random weights, and what their loss is by its formula."""

import copy
from typing import Any

import torch
import transformers

VOCABULARY, LENGTH = 211, 12
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EQUAL_HEADS = {**SIZES, "num_key_value_heads": 2}
GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("LlamaConfig", SIZES),
    "Llama, tied": ("LlamaConfig", {**SIZES, "tie_word_embeddings": True}),
    "Mistral": ("MistralConfig", SIZES),
    "Qwen 2": ("Qwen2Config", SIZES),
    "Qwen 3": ("Qwen3Config", {**SIZES, "head_dim": 8}),
    "Gemma 2": ("Gemma2Config", {**SIZES, "head_dim": 8, "final_logit_softcapping": 2.0}),
    "Gemma 3": ("Gemma3TextConfig", {**SIZES, "head_dim": 8, "final_logit_softcapping": 1.5}),
    "GPT-2": ("GPT2Config", {**SIZES, **GPT2, **NO_DROPOUT}),
    "GPT-NeoX": ("GPTNeoXConfig", SIZES),
    "Phi": ("PhiConfig", EQUAL_HEADS),
    "OLMo": ("OlmoConfig", EQUAL_HEADS),
    "Granite": ("GraniteConfig", {**SIZES, "logits_scaling": 3.0}),
    "Cohere": ("CohereConfig", {**SIZES, "logit_scale": 0.3}),
}


def model_of(family: str, dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    """Build a model whose logits are far from uniform, so that scales and caps show."""
    name, sizes = FAMILIES[family]
    config = getattr(transformers, name)(**{**sizes, **changes})
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        model = transformers.AutoModelForCausalLM.from_config(config).train()
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, dtype=torch.float64)
    return model.to(dtype)


def batch(sequences: int = 4) -> dict[str, torch.Tensor]:
    """Sequences that are padded on the right, and whose beginnings count in no loss."""
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(3, VOCABULARY, (sequences, LENGTH), generator=generator)
    mask = torch.ones_like(tokens)
    mask[1, 7:] = 0
    labels = tokens.masked_fill(mask == 0, -100)
    labels[0, :3] = -100
    return {
        "input_ids": tokens.masked_fill(mask == 0, 0),
        "attention_mask": mask,
        "labels": labels,
    }


def items(labels: torch.Tensor) -> torch.Tensor:
    """Return how many tokens are scored."""
    return (labels[:, 1:] != -100).sum()


def by_formula(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the loss with the head, and what comes after it, in float64."""

    def widen(head: Any, hidden: Any, logits: Any) -> Any:
        bias = None if head.bias is None else head.bias.double()
        return torch.nn.functional.linear(hidden[0].double(), head.weight.double(), bias)

    labels = inputs["labels"]
    hook = model.get_output_embeddings().register_forward_hook(widen)
    logits = model(**{name: t for name, t in inputs.items() if name != "labels"}).logits
    hook.remove()
    assert logits.dtype == torch.float64
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def copies(model: Any) -> tuple[Any, Any, Any]:
    """Return the model and two copies."""
    return model, copy.deepcopy(model), copy.deepcopy(model)


def assert_gradients_as_near(ours: Any, theirs: Any, exact: Any) -> None:
    """Assert that every gradient of ours is about as near to the exact one as theirs.

    The models have the same roundings before the head. Left are those of float32 in the layers, and
    that of the gradient itself.
    """
    named = zip(ours.named_parameters(), theirs.parameters(), exact.parameters(), strict=True)
    count = 0
    for (name, a), b, c in named:
        assert (a.grad is None) == (b.grad is None) == (c.grad is None), name
        if a.grad is not None:
            assert a.grad.dtype == b.grad.dtype, name
            error, other = ((p.grad.double() - c.grad.double()).norm() for p in (a, b))
            few = 16 * torch.finfo(torch.float32).eps + torch.finfo(a.dtype).eps
            assert error <= 2 * other + few * c.grad.double().norm(), (name, error, other)
            count += 1
    assert count
