"""Patched models in training: the Trainer, a plain loop, checkpointing, autocast, torch.compile."""

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import softstep.torch as st  # noqa: E402
from softstep.transformers import applied, apply, revert  # noqa: E402
from tests.transformers.cases import (  # noqa: E402
    LENGTH,
    VOCABULARY,
    assert_gradients_as_near,
    batch,
    by_formula,
    copies,
    items,
    model_of,
)

# Of what transformers itself calls by its old names.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

ADAMW = {"lr": 2e-3, "weight_decay": 0.01}


def sequences(count: int) -> list[dict[str, Any]]:
    """Sequences of different lengths, in which a token tells the next one."""
    generator = torch.Generator().manual_seed(5)
    starts = torch.randint(3, VOCABULARY, (count,), generator=generator).tolist()
    result = []
    for i, start in enumerate(starts):
        tokens = [3 + (7 * start + 11 * t) % (VOCABULARY - 3) for t in range(LENGTH - i % 5)]
        result.append({"input_ids": tokens, "labels": tokens, "attention_mask": [1] * len(tokens)})
    return result


def collate(examples: list[dict[str, Any]]) -> dict[str, Any]:
    fill = {"input_ids": 0, "labels": -100, "attention_mask": 0}
    length = max(len(example["labels"]) for example in examples)
    return {
        name: torch.tensor([e[name] + [value] * (length - len(e[name])) for e in examples])
        for name, value in fill.items()
    }


class Curve(transformers.TrainerCallback):
    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))


def trainer_of(model: Any, folder: Any, **arguments: Any) -> tuple[Any, Curve]:
    options = {
        "max_steps": 50,
        "per_device_train_batch_size": 4,
        "logging_steps": 1,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
        "dataloader_pin_memory": False,
    }
    curve = Curve()
    trainer = transformers.Trainer(
        model,
        transformers.TrainingArguments(str(folder), **{**options, **arguments}),
        data_collator=collate,
        train_dataset=sequences(40),
        eval_dataset=sequences(8),
        callbacks=[curve],
        optimizer_cls_and_kwargs=(st.AdamW, ADAMW),
    )
    return trainer, curve


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("family", ["Llama", "GPT-2", "Gemma 2"])
def test_the_loss_curve_of_the_trainer(family: str, accumulation: int, tmp_path: Any) -> None:
    curves, evaluated = [], []
    for patch in (False, True):
        model = model_of(family)
        if patch:
            apply(model)
        trainer, curve = trainer_of(model, tmp_path, gradient_accumulation_steps=accumulation)
        trainer.train()
        assert isinstance(trainer.optimizer.optimizer, st.AdamW)
        curves.append(curve.losses)
        evaluated.append(trainer.evaluate()["eval_loss"])
    plain, ours = (torch.tensor(losses) for losses in curves)
    assert len(ours) == 50 and ours[-10:].mean() < ours[:10].mean() - 0.2
    # The Trainer may round to 4 digits what it logs.
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(evaluated[1], evaluated[0], rtol=1e-4, atol=0)


def test_metrics_of_the_trainer(tmp_path: Any) -> None:
    shapes = []

    def metrics(prediction: Any) -> dict[str, float]:
        shapes.append(prediction.predictions.shape)
        return {"accuracy": 0.5}

    model = apply(model_of("Llama"), eval_logits=True)
    trainer, _ = trainer_of(model, tmp_path, max_steps=1)
    trainer.compute_metrics = metrics
    assert trainer.evaluate()["eval_accuracy"] == 0.5
    assert shapes == [(8, LENGTH, VOCABULARY)]


def test_the_trainer_in_bfloat16(tmp_path: Any) -> None:
    """Its autocast wraps the forward; the patch goes on below it, and comes off."""
    losses = []
    for patch in (False, True):
        model = model_of("Llama")
        if patch:
            apply(model)
        trainer, curve = trainer_of(model, tmp_path, max_steps=3, bf16=True)
        trainer.train()
        losses.append(torch.tensor(curve.losses))
    torch.testing.assert_close(*losses, rtol=torch.finfo(torch.bfloat16).eps, atol=0)
    inputs = batch()
    assert model(**inputs).logits is None
    assert revert(model)(**inputs).logits is not None


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_plain_loop(accumulation: int) -> None:
    """The recipe of the documentation beside plain PyTorch."""
    theirs = model_of("Qwen 2")
    ours = apply(copy.deepcopy(theirs))
    optimizers = (
        st.AdamW(ours.parameters(), **ADAMW),
        torch.optim.AdamW(theirs.parameters(), **ADAMW),
    )
    inputs = batch()
    rows = torch.arange(4).chunk(accumulation)
    for _ in range(10):
        totals = []
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            number = items(inputs["labels"])
            total = 0.0
            for part in rows:
                micro = {name: tensor[part] for name, tensor in inputs.items()}
                loss = model(**micro, num_items_in_batch=number).loss
                loss.backward()
                total += loss.item()
            optimizer.step()
            optimizer.zero_grad()
            totals.append(total)
        assert totals[0] == pytest.approx(totals[1], rel=1e-5)


@pytest.mark.parametrize("family", ["Llama", "GPT-2", "Llama, tied"])
def test_gradient_checkpointing(family: str) -> None:
    ours, theirs, exact = copies(model_of(family))
    apply(ours)
    for model in (ours, theirs):
        model.gradient_checkpointing_enable({"use_reentrant": False})
    inputs = batch()
    for loss in (ours(**inputs).loss, theirs(**inputs).loss, by_formula(exact, inputs)):
        loss.backward()
    assert_gradients_as_near(ours, theirs, exact)


@pytest.mark.parametrize("family", ["Llama", "Phi", "Gemma 2"])
def test_autocast(family: str) -> None:
    ours, theirs, exact = copies(model_of(family))
    apply(ours)
    inputs = batch()
    with torch.autocast("cpu", torch.bfloat16):
        losses = ours(**inputs).loss, theirs(**inputs).loss
    wide = by_formula(exact, inputs)
    for loss in (*losses, wide):
        loss.backward()
    assert losses[0].dtype == torch.float32
    error, other = (abs(loss.item() - wide.item()) for loss in losses)
    assert error <= other + torch.finfo(torch.bfloat16).eps * wide.item()
    for a, b, c in zip(*(m.parameters() for m in (ours, theirs, exact)), strict=True):
        error, other = ((p.grad - c.grad).norm() for p in (a, b))
        assert error <= other + torch.finfo(torch.bfloat16).eps * c.grad.norm()


@pytest.mark.parametrize("family", ["Cohere", "Phi"])
def test_compile(family: str) -> None:
    torch._dynamo.reset()
    ours, theirs, exact = copies(model_of(family))
    apply(ours)
    # The traced forward and backward, run by PyTorch: no compiler of C++ is needed.
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    inputs = batch()
    number = items(inputs["labels"])
    output = compiled(**inputs, num_items_in_batch=number)
    assert output.logits is None
    for loss in (output.loss, theirs(**inputs).loss, by_formula(exact, inputs)):
        loss.backward()
    assert_gradients_as_near(ours, theirs, exact)
    again = compiled(**inputs, num_items_in_batch=2 * number).loss
    torch.testing.assert_close(again, output.loss / 2)
    torch._dynamo.reset()


def test_evaluation_computes_no_gradient() -> None:
    model = model_of("Llama").eval()
    inputs = batch()
    with torch.no_grad():
        expected = model(**inputs).loss
        with applied(model):
            loss = model(**inputs).loss
    assert not loss.requires_grad
    torch.testing.assert_close(loss, expected)
