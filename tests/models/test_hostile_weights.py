"""Weight files that are broken, foreign or hostile: one line each, and no code of theirs runs."""

import dataclasses
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from c2p import params
from c2p.models.clip import Clip, ModelError, create_clip, encode_text, load_clip, save_clip
from c2p.models.weights import read_weights

TEACHER = params.Teacher(
    model="c2p-demo", pretrained="", epochs=1, batch=2, lr=1e-3, weight_decay=0.1, warmup=0.1, seed=5
)


class Hostile:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.trace),)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return create_clip(TEACHER)


def _load(path: Path) -> Clip:
    return create_clip(dataclasses.replace(TEACHER, pretrained=str(path), seed=9))


def _refused(path: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        _load(path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


@pytest.mark.parametrize("form", ["checkpoint", "pickle"])
def test_code_in_a_pickle_is_not_run(clip: Clip, tmp_path: Path, form: str) -> None:
    path, trace = tmp_path / "weights.pt", tmp_path / "trace"
    if form == "checkpoint":
        torch.save({"state_dict": clip.model.state_dict(), "extra": Hostile(trace)}, path)
    else:
        path.write_bytes(pickle.dumps({"a": Hostile(trace)}, protocol=2))
    _refused(path, "holds Python objects beside tensors, which could run code")
    assert not trace.exists()
    torch.load(path, weights_only=False) if form == "checkpoint" else pickle.loads(path.read_bytes())
    assert trace.is_dir(), "the file would have done it"


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".old.pt"])
@pytest.mark.parametrize("share", [0.0, 0.0001, 0.3, 0.999])
def test_files_cut_short(clip: Clip, tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file({k: v.contiguous() for k, v in clip.model.state_dict().items()}, path)
    else:
        torch.save(clip.model.state_dict(), path, _use_new_zipfile_serialization=suffix == ".pt")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    _refused(path, "cut short")


def test_what_is_no_weights_file(tmp_path: Path) -> None:
    for name, content in {"text.pt": b"hello, this is text\n", "noise.pt": bytes(range(256)) * 9}.items():
        (tmp_path / name).write_bytes(content)
        _refused(tmp_path / name, "no weights file")
    for name, content in {"list.pt": [1, 2], "notes.pt": {"epoch": 3, "lr": 0.1}, "empty.pt": {}}.items():
        torch.save(content, tmp_path / name)
        _refused(tmp_path / name, "allowed: safetensors, a PyTorch checkpoint of tensors")
    with pytest.raises(ModelError, match="no such weights file"):
        read_weights(tmp_path / "absent.pt")


def test_checkpoints_of_training(clip: Clip, tmp_path: Path) -> None:
    """`state_dict` beside other things, the prefix of parallel training, half precision, a scale of one entry."""
    state = {f"module.{name}": tensor for name, tensor in clip.model.state_dict().items()}
    state["module.logit_scale"] = state["module.logit_scale"].reshape(1)
    torch.save({"epoch": 3, "name": "run", "state_dict": state, "optimizer": {"state": {}}}, tmp_path / "epoch.pt")
    texts = ["a chair", "a lamp"]
    assert torch.equal(encode_text(_load(tmp_path / "epoch.pt"), texts), encode_text(clip, texts))
    half = {name: t.half() if t.is_floating_point() else t for name, t in clip.model.state_dict().items()}
    save_file({name: tensor.contiguous() for name, tensor in half.items()}, tmp_path / "half.bin")
    loaded = _load(tmp_path / "half.bin")
    assert loaded.model.logit_scale.dtype == torch.float32
    assert torch.allclose(encode_text(loaded, texts), encode_text(clip, texts), atol=1e-3)


def test_weights_that_do_not_fit(clip: Clip, tmp_path: Path) -> None:
    path, state = tmp_path / "weights.pt", clip.model.state_dict()
    name = "visual.attnpool.positional_embedding"
    for change, message in (
        ({name: torch.zeros(10, 512)}, rf"{name} has shape \(10, 512\), this model's is \(5, 512\)"),
        ({name: torch.full_like(state[name], float("nan"))}, f"{name} holds numbers that are not finite"),
        ({name: state[name].clone().index_fill_(1, torch.tensor([3]), float("inf"))}, "not finite"),
        ({"extra": torch.zeros(1), "more": torch.zeros(1)}, r"extra is unknown to this model \(and 1 more differ\)"),
    ):
        torch.save(state | change, path)
        _refused(path, message)
    torch.save({k: v for k, v in state.items() if k != name}, path)
    _refused(path, f"{name} is missing")


def test_a_folder_with_such_weights_is_refused_as_well(clip: Clip, tmp_path: Path) -> None:
    save_clip(clip, tmp_path)
    state = {k: v.clone().contiguous() for k, v in clip.model.state_dict().items()}
    state["logit_scale"].fill_(float("nan"))
    save_file(state, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(ModelError, match="logit_scale holds numbers that are not finite"):
        load_clip(tmp_path)


def test_an_old_file_may_end_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"w": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError, match=r"weights\.pt: "):
            read_weights(path)
