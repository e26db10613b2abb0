"""apply, revert and applied: what they change, what they leave, what they refuse."""

import copy
import inspect
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import softstep.transformers  # noqa: E402
from softstep.transformers import applied, apply, revert  # noqa: E402
from tests.transformers.cases import SIZES, batch, items, model_of  # noqa: E402


def test_revert_leaves_nothing() -> None:
    model = model_of("Cohere")
    state, own, head = set(vars(model)), set(vars(model.lm_head)), model.lm_head
    names, signature = list(model.state_dict()), inspect.signature(model.forward)
    assert revert(model) is model
    assert apply(model) is model and apply(model) is model
    assert type(model) is transformers.CohereForCausalLM and model.lm_head is head
    assert isinstance(head, torch.nn.Linear) and list(model.state_dict()) == names
    assert inspect.signature(model.forward) == signature
    revert(model)
    assert set(vars(model)) == state and set(vars(head)) == own
    assert type(head) is torch.nn.Linear
    inputs = batch()
    logits = model(**inputs).logits
    with applied(model) as same:
        assert same is model and model(**inputs).logits is None
    assert torch.equal(model(**inputs).logits, logits)
    with pytest.raises(KeyError), applied(model):
        raise KeyError
    assert set(vars(model)) == state


def test_the_probe_leaves_no_trace() -> None:
    model = model_of("GPT-2", embd_pdrop=0.5)
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    apply(model)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(a, before[name]) for name, a in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training and not model.lm_head._forward_hooks


def test_a_forward_that_was_there_stays() -> None:
    model, calls = model_of("Llama"), []
    forward = model.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs)
        return forward(*args, **kwargs)

    model.forward = counted
    inputs = batch()
    apply(model)
    calls.clear()
    assert model(**inputs).logits is None and len(calls) == 1
    assert revert(model).forward is counted


def test_revert_below_a_later_wrapper() -> None:
    """Accelerate takes the function of the forward into one of its own."""
    model = apply(model_of("Llama"))
    ours = model.forward.__func__

    def later(self: Any, *args: Any, **kwargs: Any) -> Any:
        return ours(self, *args, **kwargs)

    model.forward = later.__get__(model)
    inputs = batch()
    for _ in range(2):
        assert model(**inputs).logits is None
        revert(model)
        assert model.forward.__func__ is later and model(**inputs).logits is not None
        apply(model)
        assert model.forward.__func__ is later


def test_calls_of_every_form() -> None:
    model = model_of("Llama")
    inputs = batch()
    tokens, mask, labels = inputs["input_ids"], inputs["attention_mask"], inputs["labels"]
    expected = model(**inputs).loss
    apply(model)
    names = list(inspect.signature(model.forward).parameters)
    positional = [{"input_ids": tokens, "labels": labels}.get(name) for name in names[:9]]
    assert model(**inputs).loss.isclose(expected)
    where = names.index("labels") + 1
    output = model(*positional[:where], attention_mask=mask) if names[1] != "attention_mask" else (
        model(tokens, mask, *positional[2:where])
    )  # fmt: skip
    assert output.logits is None and output.loss.isclose(expected)
    both = model(**inputs, return_dict=False)
    assert isinstance(both, tuple) and both[0].isclose(expected)
    assert not any(isinstance(part, torch.Tensor) for part in both[1:])
    ahead = torch.nn.functional.pad(labels, (0, 1), value=-100)[:, 1:]
    assert model(**inputs, shift_labels=ahead).loss.isclose(expected)
    other = inputs | {"labels": labels.masked_fill(labels == -100, 1)}
    assert model(**other, ignore_index=1).loss.isclose(expected)
    count = items(labels)
    for number in (count, int(count), float(count)):
        assert model(**inputs, num_items_in_batch=number).loss.isclose(expected)
    nothing = model(tokens, labels=labels.fill_(-100), num_items_in_batch=torch.tensor(0))
    assert nothing.loss.isnan()
    nothing.loss.backward()
    assert not any(parameter.grad.any() for parameter in model.parameters())


def test_hidden_states_come_with_the_loss() -> None:
    model = apply(model_of("Llama"))
    inputs = batch()
    output = model(**inputs, output_hidden_states=True)
    assert output.logits is None and len(output.hidden_states) == 2
    assert list(output) == [name for name in output if name != "logits"]


def test_copies_are_of_their_own() -> None:
    model = apply(model_of("Granite"))
    inputs = batch()
    expected = model(**inputs).loss
    other = copy.deepcopy(model)
    assert other.lm_head is not model.lm_head
    with torch.no_grad():
        model.lm_head.weight.zero_()
    assert torch.equal(other(**inputs).loss, expected)
    revert(model)
    assert other(**inputs).logits is None and revert(other)(**inputs).logits is not None


def test_saving(tmp_path: Any) -> None:
    model = apply(model_of("Qwen 3"))
    inputs = batch()
    model.save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).train()
    assert loaded(**inputs).loss.isclose(model(**inputs).loss)
    assert loaded.config.architectures == ["Qwen3ForCausalLM"]


def test_an_error_inside_leaves_the_head_ready() -> None:
    model = apply(model_of("Llama"))
    inputs = batch()
    expected = model(**inputs).loss
    with pytest.raises(IndexError, match="target"):
        model(**inputs | {"labels": inputs["labels"] + 5000})
    with pytest.raises(ValueError, match="target: expected shape"):
        model(**inputs, logits_to_keep=2)
    assert torch.equal(model(**inputs).loss, expected)
    assert model(inputs["input_ids"]).logits is not None


def test_losses_that_the_model_adds_to() -> None:
    """A mixture of experts balances them, in the same loss."""
    config = transformers.MixtralConfig(
        **SIZES, num_local_experts=4, output_router_logits=True, router_aux_loss_coef=0.5
    )
    model = transformers.MixtralForCausalLM(config).train()
    inputs = batch()
    expected = model(**inputs)
    assert expected.aux_loss > 0
    output = apply(model)(**inputs)
    assert output.logits is None and output.loss.isclose(expected.loss)


def test_new_tokens() -> None:
    model = apply(model_of("Llama"))
    model.resize_token_embeddings(230)
    inputs = batch()
    with pytest.raises(
        RuntimeError, match=r"replaced or wrapped since apply\(model\), by new tokens"
    ):
        model(**inputs)
    assert apply(model)(**inputs).logits is None and model.lm_head.out_features == 230


class Shifted(transformers.LlamaForCausalLM):
    def forward(self, input_ids: Any = None, labels: Any = None, **kwargs: Any) -> Any:
        logits = self.lm_head(self.model(input_ids).last_hidden_state) + self.offset
        loss = self.loss_function(logits, labels, self.config.vocab_size)
        return transformers.modeling_outputs.CausalLMOutput(loss=loss, logits=logits)


class OfItsOwn(transformers.LlamaForCausalLM):
    def forward(self, input_ids: Any = None, labels: Any = None, **kwargs: Any) -> Any:
        logits = self.lm_head(self.model(input_ids).last_hidden_state)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return transformers.modeling_outputs.CausalLMOutput(loss=loss, logits=logits)


@pytest.mark.filterwarnings("ignore:.*torch.jit")  # of transformers' own modules
def test_refusals() -> None:
    with pytest.raises(TypeError, match="expected a PreTrainedModel of transformers"):
        apply(torch.nn.Linear(2, 3))
    with pytest.raises(TypeError, match="before it is compiled or wrapped"):
        apply(torch.compile(model_of("Llama")))
    t5 = transformers.T5Config(vocab_size=50, d_model=8, d_ff=8, num_layers=1, num_heads=1, d_kv=8)
    with pytest.raises(ValueError, match="expected a decoder, got the encoder and decoder T5"):
        apply(transformers.T5ForConditionalGeneration(t5))
    llama = transformers.LlamaConfig(**SIZES)
    with pytest.raises(ValueError, match="expected a language-model head, LlamaModel has none"):
        apply(transformers.LlamaModel(llama))
    bert = transformers.BertConfig(**SIZES)
    with pytest.raises(
        ValueError, match="expected the loss ForCausalLMLoss, BertForMaskedLM has For"
    ):
        apply(transformers.BertForMaskedLM(bert))
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(llama)
    with pytest.raises(ValueError, match="those of LlamaForCausalLM are on meta"):
        apply(model)
    model = model_of("Llama")
    model.lm_head = torch.nn.Sequential(model.lm_head)
    with pytest.raises(
        ValueError, match=r"a torch\.nn\.Linear as the head, LlamaForCausalLM has a"
    ):
        apply(model)
    model = Shifted(llama)
    for offset, message in (
        (1.0, "turns the logits 0.5, -2 and 100 into 1.5, -1 and 101"),
        (torch.zeros(10, requires_grad=True), "has parameters between its head and its loss"),
        (torch.zeros(211), "raised RuntimeError"),
    ):
        model.offset = offset
        with pytest.raises(ValueError, match=message):
            apply(model)
    with pytest.raises(ValueError, match=r"OfItsOwn raised|1 and 0 times"):
        apply(OfItsOwn(llama))
    assert type(model.lm_head) is torch.nn.Linear and "_softstep" not in vars(model)
    assert "_loss_function" not in vars(model) and not model.lm_head._forward_hooks
    model.loss_function = lambda *args, **kwargs: 0
    with pytest.raises(ValueError, match="Shifted has <lambda>"):
        apply(model)
    assert softstep.transformers.__all__ == dir(softstep.transformers)
