"""Patched models with PEFT's adapters."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
from softstep.torch import _linear_cross_entropy_kernel as kernel  # noqa: E402
from softstep.transformers import apply, revert  # noqa: E402
from tests.transformers.cases import (  # noqa: E402
    VOCABULARY,
    assert_gradients_as_near,
    batch,
    by_formula,
    copies,
    model_of,
)

# Of what PEFT calls by its old names, and what it says of GPT-2's layers.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:fan_in_fan_out")


def with_adapter(family: str = "Llama", **options: Any) -> Any:
    torch.manual_seed(0)
    config = peft.LoraConfig(
        r=2,
        init_lora_weights=False,
        task_type="CAUSAL_LM",
        **{"target_modules": "all-linear", **options},
    )
    return peft.get_peft_model(model_of(family), config)


def check(ours: Any, theirs: Any, exact: Any) -> None:
    inputs = batch()
    output = ours(**inputs)
    assert output.logits is None
    for loss in (output.loss, theirs(**inputs).loss, by_formula(exact.get_base_model(), inputs)):
        loss.backward()
    assert_gradients_as_near(ours, theirs, exact)


@pytest.mark.parametrize("family", ["Llama", "Llama, tied", "GPT-2", "Gemma 2"])
def test_lora(family: str, monkeypatch: Any) -> None:
    """A frozen head: no gradient of its weights is computed, not even to be thrown away."""
    asked, evaluate = [], kernel.evaluate

    def recorded(tensors: Any, constants: Any, names: Any, upstream: Any = None) -> Any:
        asked.append(list(names))
        return evaluate(tensors, constants, names, upstream)

    monkeypatch.setattr(kernel, "evaluate", recorded)
    ours, theirs, exact = copies(with_adapter(family))
    assert apply(ours) is ours
    check(ours, theirs, exact)
    assert asked == [["hidden"]]
    assert revert(ours)(**batch()).logits is not None


def test_apply_before_the_adapter() -> None:
    model = apply(model_of("Llama"))
    model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    inputs = batch()
    assert model(**inputs).logits is None
    revert(model)
    assert model(**inputs).logits.shape[-1] == VOCABULARY


def test_a_head_that_is_trained() -> None:
    ours, theirs, _ = copies(with_adapter(modules_to_save=["lm_head"]))
    apply(ours)
    assert any("lm_head" in name for name, p in ours.named_parameters() if p.requires_grad)
    inputs = batch()
    output, plain = ours(**inputs), theirs(**inputs)
    assert output.logits is None
    for loss in (output.loss, plain.loss):
        loss.backward()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6)


def test_refusals() -> None:
    head = {"target_modules": ["q_proj", "lm_head"]}
    with pytest.raises(ValueError, match=r"has a peft\.tuners\.lora\.layer\.Linear\. An adapter"):
        apply(with_adapter(**head))
    model = apply(model_of("Llama"))
    model = peft.get_peft_model(model, peft.LoraConfig(r=2, **head))
    with pytest.raises(
        RuntimeError, match=r"wrapped since apply\(model\), by new tokens or an adap"
    ):
        model(**batch())
