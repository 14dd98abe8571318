"""Templates, single and in ensembles, down to the features that zero-shot evaluation uses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from c2p import params
from c2p.evaluation.bank import Bank
from c2p.models.clip import Clip, create_clip, encode_text, save_clip
from c2p.models.templates import templates_of

TEACHER = params.Teacher(
    model="c2p-demo", pretrained="", epochs=1, batch=2, lr=1e-3, weight_decay=0.1, warmup=0.1, seed=5
)
PLAIN = params.Zeroshot(views="six", template="image of a {}", templates=())


def test_the_default_is_the_papers_single_template() -> None:
    assert templates_of(PLAIN) == ("image of a {}",)
    for profile in ("demo", "paper", "code"):
        settings = params.load(Path(__file__).resolve().parents[2] / f"profiles/{profile}.yaml")
        assert templates_of(settings.zeroshot) == ("image of a {}",)


def test_named_sets_and_texts_join_each_once() -> None:
    eighty = templates_of(replace(PLAIN, templates=("clip-80",)))
    seven = templates_of(replace(PLAIN, templates=("clip-7",)))
    assert len(eighty) == 80 and len(seven) == 7 and set(seven) <= set(eighty)
    assert "a photo of a {}." in eighty and all(text.count("{}") == 1 for text in eighty)
    joined = templates_of(replace(PLAIN, templates=("a {}", "clip-7", "clip-80", "a {}")))
    assert joined[:8] == ("a {}", *seven) and len(joined) == 81


@pytest.mark.parametrize("templates", [("a {}",), ("a {}", "the {}", "two {}s")])
def test_evaluation_averages_directions(tmp_path: Path, templates: tuple[str, ...]) -> None:
    clip: Clip = create_clip(TEACHER)
    save_clip(clip, tmp_path / "clip")
    bank = Bank(tmp_path / "bank")
    classes = ["chair", "lamp", "night stand"]
    text = bank.text(tmp_path / "clip", templates, classes)
    bank.make(lambda function, jobs, names=None: [function(job) for job in jobs])
    for row, name in zip(np.load(text), classes, strict=True):
        features = encode_text(clip, [template.format(name) for template in templates]).double().numpy()
        mean = features.sum(0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-6)
    assert bank.text(tmp_path / "clip", templates, classes) == text
    bank.make(lambda function, jobs, names=None: pytest.fail("encoded again"))
    assert bank.text(tmp_path / "clip", (*templates, "x {}"), classes) != text
