"""Weights that are fetched, placed or given: both published forms, the stage that takes them, and folders."""

import dataclasses
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from fileserver import FileServer, Resource, serving

from c2p import params
from c2p.data import transfer
from c2p.data.catalogue import Collection, RemoteFile
from c2p.data.download import DownloadError
from c2p.models.clip import WEIGHTS_FILE, Clip, ModelError, create_clip, encode_text, load_clip, save_clip
from c2p.models.scripted import is_scripted, scripted_weights
from tasks import teacher
from tasks.shard_map import serial

ROOT = Path(__file__).resolve().parents[2]
TEACHER = params.Teacher(
    model="c2p-demo", pretrained="", epochs=1, batch=2, lr=1e-3, weight_decay=0.1, warmup=0.1, seed=5
)
TEXTS = ["a chair", "a cup"]


class Node(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.fixture(scope="module")
def clip() -> Clip:
    return create_clip(TEACHER)


@pytest.fixture(scope="module")
def scripted(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TorchScript archive as OpenAI's: the same names, half precision, three settings among the weights."""
    root = Node()
    settings = {name: torch.tensor(7) for name in ("input_resolution", "context_length", "vocab_size")}
    for name, tensor in (clip.model.state_dict() | settings).items():
        *path, leaf = name.split(".")
        node = root
        for part in path:
            if not hasattr(node, part):
                node.add_module(part, Node())
            node = getattr(node, part)
        node.register_buffer(leaf, tensor.half() if tensor.is_floating_point() else tensor)
    place = tmp_path_factory.mktemp("scripted") / "small.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is on its way out; the published files stay
        torch.jit.trace(root, torch.zeros(1)).save(str(place))
    return place


def test_openais_own_form_gives_the_same_weights(clip: Clip, scripted: Path) -> None:
    assert is_scripted(scripted)
    weights, given = scripted_weights(scripted), clip.model.state_dict()
    assert set(weights) == set(given)
    for name, tensor in weights.items():
        assert tensor.dtype == given[name].dtype and torch.equal(tensor, given[name].half().to(tensor.dtype)), name
    made = create_clip(dataclasses.replace(TEACHER, pretrained=str(scripted), seed=9))
    assert made.config["quick_gelu"], "OpenAI trained with QuickGELU"
    assert not torch.allclose(encode_text(made, TEXTS), encode_text(clip, TEXTS), atol=1e-3)
    quick = open_clip.create_model("c2p-demo", load_weights=False, quick_gelu=True)
    quick.load_state_dict(clip.model.state_dict())
    expected = encode_text(dataclasses.replace(clip, model=quick.eval()), TEXTS)
    assert torch.allclose(encode_text(made, TEXTS), expected, atol=1e-3)


def test_what_is_no_script(tmp_path: Path, clip: Clip) -> None:
    torch.save(clip.model.state_dict(), tmp_path / "state.pt")
    assert not is_scripted(tmp_path / "state.pt")
    made = create_clip(dataclasses.replace(TEACHER, pretrained=str(tmp_path / "state.pt"), seed=9))
    assert torch.equal(encode_text(made, TEXTS), encode_text(clip, TEXTS))
    (tmp_path / "no.pt").write_bytes(b"PK\3\4")
    assert not is_scripted(tmp_path / "no.pt")
    with pytest.raises(ModelError, match="cut short, damaged or no weights file") as error:
        create_clip(dataclasses.replace(TEACHER, pretrained=str(tmp_path / "no.pt")))
    assert "\n" not in str(error.value)


def test_weights_of_another_model_are_refused(scripted: Path) -> None:
    with pytest.raises(ModelError, match="use weights of the same architecture") as error:
        create_clip(dataclasses.replace(TEACHER, model="RN50", pretrained=str(scripted)))
    assert "\n" not in str(error.value)


def test_a_folder_does_as_well(clip: Clip, tmp_path: Path) -> None:
    save_clip(clip, tmp_path / "mine")
    settings = dataclasses.replace(TEACHER, pretrained=str(tmp_path / "mine"), seed=9)
    assert torch.equal(encode_text(create_clip(settings), TEXTS), encode_text(clip, TEXTS))
    with pytest.raises(ModelError, match="another architecture than RN50"):
        create_clip(dataclasses.replace(settings, model="RN50"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Offers a tag `openai` of c2p-demo, as the catalogue would."""
    monkeypatch.setattr(transfer, "PAUSES_S", (0.0,))
    tag = {"openai": {"url": "http://127.0.0.1:9/never", "quick_gelu": False}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "c2p-demo", tag)
    with serving() as server:
        files = [RemoteFile("clip-small", name, (server.url(name),)) for name in ("w.safetensors", "w.pt")]
        collection = Collection("clip-small", "small", (files[0],), "MIT", "free", "nobody", instead=(files[1],))
        monkeypatch.setattr(teacher, "weights_of", lambda model, tag: collection if tag == "openai" else None)
        yield server


@pytest.mark.parametrize("form", ["w.safetensors", "w.pt"])
def test_the_teacher_stage_fetches_its_weights(
    server: FileServer, clip: Clip, scripted: Path, tmp_path: Path, form: str
) -> None:
    """Either form does; the fetch goes on where it broke off, is recorded, and is not repeated."""
    save_clip(clip, tmp_path / "made")
    data = (scripted if form == "w.pt" else tmp_path / "made" / WEIGHTS_FILE).read_bytes()
    cut = 16 * transfer.PIECE
    server.url(form, Resource(data, etag='"1"', cuts=[cut, 0]))
    whole = dataclasses.replace(
        params.load(ROOT / "profiles/demo.yaml"), teacher=dataclasses.replace(TEACHER, pretrained="openai")
    )
    with pytest.raises(DownloadError, match="broke off"):
        teacher.run(whole, tmp_path, serial)
    teacher.run(whole, tmp_path, serial)
    assert server.ranges()[-1] == f"bytes={cut}-"
    assert f"clip-small/{form}" in json.loads((tmp_path / "catalogue.lock").read_text())
    stored = load_clip(tmp_path / "models/clip")
    assert np.allclose(encode_text(stored, TEXTS), encode_text(clip, TEXTS), atol=5e-3)
    server.seen.clear()
    teacher.run(whole, tmp_path, serial)
    assert server.seen == []


def test_weights_that_cannot_be_had_are_one_line(server: FileServer, tmp_path: Path) -> None:
    whole = params.load(ROOT / "profiles/demo.yaml")
    whole = dataclasses.replace(whole, teacher=dataclasses.replace(TEACHER, pretrained="openai"))
    with pytest.raises(DownloadError, match=r"w\.safetensors.*404.*or .*w\.pt.*404") as error:
        teacher.run(whole, tmp_path, serial)
    assert "\n" not in str(error.value) and not (tmp_path / "models/clip").exists()


def test_the_demo_fetches_nothing(tmp_path: Path) -> None:
    from c2p.data.download import Downloads

    assert teacher.fetch_weights(TEACHER, Downloads.of(tmp_path)) is None and not list(tmp_path.iterdir())
