"""A loss of the user's own: what it is given, what is refused before anything trains, and that it is recorded."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.test_training import examples, other, train, weights
from tests.test_training_models import family, rows_of
from validators.tokens import load_hf_tokenizer
from workbench.recipe import Recipe
from workbench.training import TrainingError, encode_rows, load_loss, loss_digest
from workbench.training.attention import set_packed_attention
from workbench.training.loss import attach_loss, attach_own_loss
from workbench.training.own_loss import try_loss
from workbench.training.packing import collate_packed
from workbench.training.rows import IGNORED, collate

HEAD = "import torch\nfrom torch.nn.functional import cross_entropy\n"
PLAIN = """
def loss(logits, labels, mask):
    assert logits.dtype == torch.float32 and mask.dtype == torch.bool
    assert logits.shape[:2] == labels.shape == mask.shape and (labels[~mask] == -100).all()
    return cross_entropy(logits.flatten(0, 1), labels.flatten())
"""
NUMBER = itertools.count()


def written(folder: Path, source: str) -> str:
    """A module beside the experiment file, under a name that no other test imports."""
    name = f"own_loss_{next(NUMBER)}"
    (folder / f"{name}.py").write_text(HEAD + source, encoding="utf-8")
    return f"{name}:loss"


@pytest.fixture(autouse=True)
def no_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])


def tried(folder: Path, source: str) -> None:
    reference = written(folder, source)
    try_loss(load_loss(reference, folder), reference, [IGNORED] * 200 + [3, 1, 4], 11)


# -- what trains -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2"])
def test_cross_entropy_by_hand_has_the_loss_and_gradients_of_the_built_in(name: str, tmp_path: Path) -> None:
    """Padded and packed."""
    reference = written(tmp_path, PLAIN)
    for batch in (collate(rows_of(), 0), collate_packed([rows_of()])):
        found = []
        for own in (False, True):
            model = family(name)
            if "cu_seq_lens_q" in batch:
                set_packed_attention(model)
            if own:
                attach_own_loss(model, load_loss(reference, tmp_path))
            else:
                assert attach_loss(model)
            loss = model(**batch, use_cache=False).loss
            loss.backward()
            found.append((loss.item(), [p.grad for p in model.parameters() if p.grad is not None]))
        assert found[1][0] == pytest.approx(found[0][0], rel=1e-6)
        for mine, built_in in zip(found[1][1], found[0][1], strict=True):
            assert torch.allclose(mine, built_in, rtol=1e-4, atol=1e-4 * float(built_in.abs().max()))


def test_micro_batches_of_an_own_loss_weigh_by_their_trained_tokens(tmp_path: Path) -> None:
    model, rows = family("llama"), rows_of()
    attach_own_loss(model, load_loss(written(tmp_path, PLAIN), tmp_path))
    apart = sum(model(**collate([row], 0), use_cache=False).loss.item() for row in rows)
    assert model(**collate(rows, 0), use_cache=False).loss.item() == pytest.approx(apart, rel=1e-5)
    blank = collate([{"input_ids": [0, 0], "labels": [IGNORED, IGNORED]}], 0)
    assert model(**blank, use_cache=False).loss.item() == 0.0


def test_a_training_by_an_own_loss_is_that_of_the_built_in_and_recorded(
    tiny_model: Path, tmp_path: Path
) -> None:
    reference = written(tmp_path, PLAIN)
    asked: dict[str, Any] = {"dev": other(), "epochs": 1}
    plain = train(tiny_model, tmp_path / "plain", **asked)
    own = train(tiny_model, tmp_path / "own", loss=reference, code=tmp_path, **asked)
    assert own.dev_loss == pytest.approx(plain.dev_loss, rel=1e-5)
    assert (plain.loss, own.loss) == (None, loss_digest(reference, tmp_path))
    assert str(own.loss).startswith(f"{reference} sha256:") and str(tmp_path) not in str(own.loss)


def test_another_loss_trains_otherwise(tiny_model: Path, tmp_path: Path) -> None:
    """Smoothed labels: what a person would bring."""
    smooth = PLAIN.replace("labels.flatten())", "labels.flatten(), label_smoothing=0.2)")
    reference = written(tmp_path, smooth)
    for name, changed in (("plain", {}), ("own", {"loss": reference, "code": tmp_path})):
        train(tiny_model, tmp_path / name, epochs=1, **changed)
    assert weights(tmp_path / "plain") != weights(tmp_path / "own")


# -- what is refused ---------------------------------------------------------------------------------

REFUSED = {
    "a syntax error": ("def loss(:", r"does not run: SyntaxError"),
    "no function": ("def lost(logits, labels, mask): ...", r"has no function 'loss'\. Did you mean 'lost'\?"),
    "other names": ("def loss(x, y, z): return x.mean()", r"takes \(x, y, z\).*\(logits, labels, mask\)"),
    "pairs": ("def loss(chosen, rejected, beta=0.1): ...", r"pairs, rewards, a teacher's logits"),
    "one too many": ("def loss(logits, labels, mask, teacher): ...", r"Losses of another kind"),
    "an error": ("def loss(logits, labels, mask): return logits[0, 0] / nothing", r"fails.*NameError"),
    "a row of losses": (
        "def loss(logits, labels, mask): return logits.logsumexp(-1)[mask]",
        r"gives a tensor \[3\]: return a scalar tensor",
    ),
    "a plain number": ("def loss(logits, labels, mask): return float(logits.sum())", r"gives float: return a scalar"),
    "no gradient": ("def loss(logits, labels, mask): return logits.detach().mean()", r"without a gradient"),
    "no number": ("def loss(logits, labels, mask): return logits.mean() / 0 * 0", r"gives nan for plain"),
    "nothing to learn": (
        "def loss(logits, labels, mask): return (logits * 0).mean()",
        r"gives no gradient to the logits",
    ),
    "trains on prompts": (
        "def loss(logits, labels, mask): return logits.logsumexp(-1).mean()",
        r"trains on positions whose mask is 0",
    ),
    "a sum": (PLAIN.replace("labels.flatten())", "labels.flatten(), reduction='sum')"), r"so it is a sum: return the mean"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_loss_that_could_not_train_is_refused_by_name(case: str, tmp_path: Path) -> None:
    source, words = REFUSED[case]
    with pytest.raises(TrainingError, match=words) as told:
        tried(tmp_path, source)
    assert str(told.value).startswith("loss: own_loss_")


def test_a_loss_as_stated_is_taken(tmp_path: Path) -> None:
    tried(tmp_path, PLAIN)
    tried(
        tmp_path,
        "def loss(logits, labels, mask, gamma=2.0):\n    return (logits.logsumexp(-1)[mask] ** gamma).mean()",
    )
    tried(tmp_path, "def loss(**given):\n    return cross_entropy(given['logits'][given['mask']], given['labels'][given['mask']])")  # fmt: skip


def test_a_module_that_is_not_there_is_named_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no module 'no_such\.module'.*put no_such/module\.py beside"):
        load_loss("no_such.module:loss", tmp_path)


def test_nothing_beside_the_file_hides_what_is_installed(tmp_path: Path) -> None:
    (tmp_path / "colorsys.py").write_text("raise SystemExit('mine')")
    with pytest.raises(TrainingError, match=r"colorsys has no function 'loss'"):
        load_loss("colorsys:loss", tmp_path)


def test_the_loss_is_tried_before_the_first_step(tiny_model: Path, tmp_path: Path) -> None:
    reference = written(tmp_path, REFUSED["a sum"][0])
    steps: list[int] = []
    with pytest.raises(TrainingError, match="so it is a sum"):
        train(
            tiny_model,
            tmp_path / "run",
            loss=reference,
            code=tmp_path,
            progress=lambda done, *_: steps.append(done),
        )
    assert not steps


def test_code_has_to_be_allowed() -> None:
    with pytest.raises(ValueError, match="allow_code: true"):
        Recipe(loss="mine:loss")
    assert Recipe(loss="mine:loss", allow_code=True).loss == "mine:loss"
    for odd in ("mine.py", "mine:", "../mine:loss", "mine:a.b", "os;:x"):
        with pytest.raises(ValueError, match="loss"):
            Recipe(loss=odd, allow_code=True)


def test_the_signature_changes_with_the_code(tmp_path: Path) -> None:
    reference = written(tmp_path, PLAIN)
    before = loss_digest(reference, tmp_path)
    (tmp_path / f"{reference.split(':')[0]}.py").write_text(HEAD + PLAIN + "# changed\n")
    assert loss_digest(reference, tmp_path) != before


def test_real_rows_are_tried_where_they_train(tiny_model: Path, tmp_path: Path) -> None:
    rows = encode_rows(examples(), load_hf_tokenizer("tiny", tiny_model), 128)
    reference = written(tmp_path, PLAIN)
    for row in rows:
        try_loss(load_loss(reference, tmp_path), reference, row["labels"], 400)
