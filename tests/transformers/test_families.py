"""Loss and gradients of every family of models, patched and not."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
import softstep.transformers  # noqa: E402
from tests.transformers.cases import (  # noqa: E402
    FAMILIES,
    VOCABULARY,
    assert_gradients_as_near,
    batch,
    by_formula,
    copies,
    items,
    model_of,
)

DTYPES = [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients(family: str, dtype: Any) -> None:
    ours, theirs, exact = copies(model_of(family, dtype))
    softstep.transformers.apply(ours)
    inputs = batch()
    output, plain, expected = ours(**inputs), theirs(**inputs), by_formula(exact, inputs)
    assert output.logits is None and type(output) is type(plain)
    assert output.loss.dtype == plain.loss.dtype == torch.float32
    torch.testing.assert_close(output.loss.double(), expected, rtol=1e-6, atol=0)
    for loss in (output.loss, plain.loss, expected):
        loss.backward()
    assert_gradients_as_near(ours, theirs, exact)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_accumulation(family: str, dtype: Any) -> None:
    """Parts of a batch, divided by the tokens of all of it."""
    ours, theirs, exact = copies(model_of(family, dtype))
    softstep.transformers.apply(ours)
    inputs = batch()
    by_formula(exact, inputs).backward()
    count = items(inputs["labels"])
    for rows in (slice(0, 1), slice(1, 4)):
        part = {name: tensor[rows] for name, tensor in inputs.items()}
        for model, number in ((ours, count), (theirs, count)):
            model(**part, num_items_in_batch=number).loss.backward()
    assert_gradients_as_near(ours, theirs, exact)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_logits_are_kept(family: str) -> None:
    model = softstep.transformers.apply(model_of(family))
    shapes: list[Any] = []

    def record(tensor: Any) -> Any:
        shapes.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        loss = model(**batch()).loss
    assert shapes and not any(shape[-1:] == (VOCABULARY,) and len(shape) > 1 for shape in shapes)
    loss.backward()
    assert model.get_output_embeddings().kept is None


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_as_before(family: str) -> None:
    model = model_of(family).eval()
    inputs = batch()
    prompt = inputs["input_ids"][:, :5]
    labels = inputs.pop("labels")
    expected = model(**inputs).logits
    generated = model.generate(prompt, max_new_tokens=3, do_sample=False)
    softstep.transformers.apply(model)
    assert torch.equal(model(**inputs).logits, expected)
    assert torch.equal(model.generate(prompt, max_new_tokens=3, do_sample=False), generated)
    softstep.transformers.apply(model, eval_logits=True)
    assert torch.equal(model(**inputs, labels=labels).logits, expected)
    assert model.train()(**inputs, labels=labels).logits is None
