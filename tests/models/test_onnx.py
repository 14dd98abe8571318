"""`c2p export`: ONNX files in ONNX Runtime against PyTorch, for every kind of tower, and a check that can fail."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from c2p import params
from c2p.cli import main
from c2p.models import onnx as exporter
from c2p.models.clip import Clip, create_clip, encode_images, encode_text, save_clip
from c2p.models.onnx import ExportError, export_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
TEACHER = params.Teacher(
    model="c2p-demo", pretrained="", epochs=1, batch=2, lr=1e-3, weight_decay=0.1, warmup=0.1, seed=5
)
SMALL = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return create_clip(TEACHER)


@pytest.fixture
def vit(monkeypatch: pytest.MonkeyPatch) -> Clip:
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "small-vit", SMALL)
    return create_clip(replace(TEACHER, model="small-vit"))


def test_both_towers_compute_what_the_pipeline_does(clip: Clip, tmp_path: Path) -> None:
    """From pictures in [0, 1] and texts to features, at batch sizes the exporter never saw."""
    save_clip(clip, tmp_path / "encoder")
    out = tmp_path / "made" / "model.onnx"
    arguments = ["export", "--encoder", str(tmp_path / "encoder"), "--out", str(out), "--what", "both"]
    assert main(arguments) == 0
    assert sorted(path.name for path in out.parent.iterdir()) == ["model-text.onnx", "model-visual.onnx"]
    visual, text = (onnxruntime.InferenceSession(out.with_name(f"model-{what}.onnx")) for what in ("visual", "text"))
    for count in (1, 3, 7):
        pixels = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(count))
        found = visual.run(["features"], {"pixels": pixels.numpy()})[0]
        np.testing.assert_allclose(found, encode_images(clip, pixels).numpy(), atol=1e-4)
        prompts = [f"image of {number} chairs" for number in range(count)]
        found = text.run(["features"], {"tokens": clip.tokenizer(prompts).numpy()})[0]
        found = found / np.linalg.norm(found, axis=-1, keepdims=True)
        np.testing.assert_allclose(found, encode_text(clip, prompts).numpy(), atol=1e-4)


def test_files_hold_nothing_of_the_machine_and_are_the_same_each_time(vit: Clip, tmp_path: Path) -> None:
    paths = [tmp_path / name / "model.onnx" for name in ("a", "b")]
    for path in paths:
        made = export_onnx(vit, "visual", path, tolerance=1e-4)
        assert made.difference <= 1e-4 < made.largest
    content = paths[0].read_bytes()
    assert content == paths[1].read_bytes()
    onnx.checker.check_model(str(paths[0]))
    assert {entry.key: entry.value for entry in onnx.load(paths[0]).metadata_props}["tower"] == "visual"
    for place in (str(Path(__file__).parents[2]), str(Path(torch.__file__).parents[1]), str(Path.home())):
        assert place.encode() not in content


def test_large_weights_lie_beside_the_file(vit: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "LARGEST_FILE", 64 << 20)
    export_onnx(vit, "visual", tmp_path / "model.onnx", tolerance=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    pixels = np.full((2, 3, 32, 32), 0.25, np.float32)
    expected = encode_images(vit, torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(session.run(None, {"pixels": pixels})[0], expected, atol=1e-4)


def test_a_file_that_computes_something_else_is_not_left(
    vit: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is changed after its export, as a wrong export would be."""
    whole = exporter._export

    def wrong(tower: torch.nn.Module, *others: object) -> None:
        whole(tower, *others)
        with torch.no_grad():
            tower.tower.proj.mul_(1.01)

    save_clip(vit, tmp_path / "encoder")
    monkeypatch.setattr(exporter, "_export", wrong)
    out = tmp_path / "made" / "model.onnx"
    assert main(["export", "--encoder", str(tmp_path / "encoder"), "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "not written: features differ from PyTorch's by" in said and said.count("\n") == 1
    assert not list(out.parent.iterdir())
    with pytest.raises(ExportError, match="tolerance 1e-05"):
        export_onnx(vit, "visual", out, tolerance=1e-5)


def test_a_number_that_is_none_is_no_agreement(vit: Clip, tmp_path: Path) -> None:
    with torch.no_grad():
        vit.model.visual.proj.fill_(float("nan"))
    with pytest.raises(ExportError, match="differ from PyTorch's by nan"):
        export_onnx(vit, "visual", tmp_path / "model.onnx", tolerance=1e9)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "model.pt"], "a file name that ends in .onnx"),
        (["--tolerance", "-1"], "a finite number of at least 0"),
        (["--tolerance", "nan"], "a finite number of at least 0"),
        (["--encoder", "absent"], "no open_clip_config.json there"),
    ],
)
def test_what_the_user_gave(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments]) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_without_the_extra(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxscript" else sys.modules)
    assert main(["export"]) == 2
    assert "onnxscript not installed: pip install -c constraints.txt -e '.[export]'" in capsys.readouterr().err
