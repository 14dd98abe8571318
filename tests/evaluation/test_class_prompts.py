"""Which texts stand for a class, and files of the user's own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from c2p.evaluation import methods
from c2p.evaluation.prompts import POINTCLIP_V2_TEMPLATES, class_prompts, read_prompt_file


def test_each_method_has_its_prompts(lab: Any) -> None:
    def texts(method: methods.Method) -> tuple[tuple[str, ...], ...]:
        return class_prompts(method, lab.settings, ("chair", "lamp"))

    assert texts(methods.POINTCLIP) == (
        ("point cloud depth map of a chair.",),
        ("point cloud depth map of a lamp.",),
    )
    assert texts(methods.SEARCHED_ON_TEST) == texts(methods.POINTCLIP)
    assert texts(methods.ADAPTED[0])[1] == ("point cloud of a big lamp.",)
    assert texts(methods.WITH) == (("image of a chair",), ("image of a lamp",))
    ours = texts(methods.POINTCLIP_V2)
    assert ours[1] == tuple(template.replace("{}", "lamp") for template in POINTCLIP_V2_TEMPLATES)
    assert len(set(ours[0])) == len(POINTCLIP_V2_TEMPLATES) == 8


def test_a_file_of_your_own_serves_pointclip_v2_alone(lab: Any, tmp_path: Path) -> None:
    file = tmp_path / "prompts.json"
    file.write_text(
        json.dumps({"Night_Stand": ["a cube with a drawer", "a night stand"], "lamp": ["a bulb {on} a pole"]})
    )
    settings = replace(lab.settings, pointclip=replace(lab.settings.pointclip, prompts=str(file)))
    classes = ("lamp", "night stand")
    got = class_prompts(methods.POINTCLIP_V2, settings, classes)
    assert got == (("a bulb {on} a pole",), ("a cube with a drawer", "a night stand"))
    assert class_prompts(methods.POINTCLIP, settings, classes) == class_prompts(
        methods.POINTCLIP, lab.settings, classes
    )
    with pytest.raises(ValueError, match=r"prompts\.json: no texts for 'sofa' and 1 more of 3 classes"):
        class_prompts(methods.POINTCLIP_V2, settings, ("sofa", "lamp", "bed"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; allowed: a JSON object"),
        ("{chair: 1}", "not JSON"),
        ("[1, 2]", "got a list; allowed"),
        ('{"chair": "a chair"}', "got 'a chair' for 'chair'"),
        ('{"chair": []}', "for 'chair'"),
        ('{"chair": ["", "a chair"]}', "for 'chair'"),
    ],
)
def test_a_broken_file_is_one_clear_line(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "prompts.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=r"pointclip\.prompts: ") as caught:
        read_prompt_file(file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
