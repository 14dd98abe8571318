"""Weights from the hub by the real client and a local server: by a tag, by a repository's name, and from its cache."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from fileserver import FileServer, Resource, serving
from huggingface_hub import constants, hf_hub_download

import c2p
from c2p import params
from c2p.data import transfer
from c2p.data.download import DownloadError, Downloads
from c2p.data.trust import read_records
from c2p.models.clip import Clip, create_clip, encode_text, save_clip
from c2p.models.folder import CONFIG_FILE, WEIGHTS_FILE, ModelError
from c2p.models.preprocessing import preprocessing_of, write_preprocessing
from tasks.teacher import fetch_weights

TEACHER = params.Teacher(
    model="c2p-demo", pretrained="", epochs=1, batch=2, lr=1e-3, weight_decay=0.1, warmup=0.1, seed=5
)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "someone/small"
TEXTS = ["a chair", "a cup"]


@pytest.fixture(scope="module")
def clip() -> Clip:
    return create_clip(TEACHER)


@pytest.fixture(scope="module")
def folder(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clip")
    save_clip(clip, place)
    torch.save(clip.model.state_dict(), place / "open_clip_pytorch_model.bin")
    return place


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(transfer, "PAUSES_S", (0.0,))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    tags = {"mine": {"hf_hub": f"{REPOSITORY}/", "quick_gelu": True, "mean": (0.5, 0.5, 0.5)}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "c2p-demo", tags)
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url("").rstrip("/"))
        yield server


def _offer(server: FileServer, *files: Path) -> None:
    """Let the repository hold files, as the hub tells of them."""
    listed = []
    for path in files:
        content = path.read_bytes()
        etag = hashlib.sha256(content).hexdigest()
        for revision in ("main", COMMIT):
            told = {"X-Repo-Commit": COMMIT, "X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{etag}"'}
            resource = Resource(content, etag=f'"{etag}"', headers=told)
            server.url(f"{REPOSITORY}/resolve/{revision}/{path.name}", resource)
        listed.append({"type": "file", "path": path.name, "size": len(content), "oid": etag[:40]})
    about = {"id": REPOSITORY, "sha": COMMIT, "siblings": [{"rfilename": file["path"]} for file in listed]}
    for revision in ("main", COMMIT):
        server.url(f"api/models/{REPOSITORY}/tree/{revision}", Resource(json.dumps(listed).encode()))
        server.url(f"api/models/{REPOSITORY}/revision/{revision}", Resource(json.dumps(about).encode()))
    server.url(f"api/models/{REPOSITORY}", Resource(json.dumps(about).encode()))


def _settings(pretrained: str) -> params.Teacher:
    return dataclasses.replace(TEACHER, pretrained=pretrained, seed=9)


def _quick(clip: Clip) -> torch.Tensor:
    model = open_clip.create_model("c2p-demo", load_weights=False, quick_gelu=True)
    model.load_state_dict(clip.model.state_dict())
    return encode_text(dataclasses.replace(clip, model=model.eval()), TEXTS)


@pytest.mark.parametrize("name", [WEIGHTS_FILE, "open_clip_pytorch_model.bin"])
def test_a_tags_weights_come_from_the_hub(
    server: FileServer, clip: Clip, folder: Path, tmp_path: Path, name: str
) -> None:
    """Safetensors before pickles; resumed, recorded, fetched once; activation and means are the tag's."""
    _offer(server, folder / name)
    settings, downloads = _settings("mine"), Downloads.of(tmp_path)
    weights = fetch_weights(settings, downloads)
    assert weights is not None and weights.name == name
    made = create_clip(settings, weights=weights)
    assert made.mean == (0.5, 0.5, 0.5) and torch.allclose(encode_text(made, TEXTS), _quick(clip), atol=1e-5)
    record = read_records(downloads.lock)[f"clip-c2p-demo-mine/{name}"]
    assert record.sha256 == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    server.resources.clear()
    assert fetch_weights(settings, downloads) == weights


def test_what_the_hubs_cache_holds_is_not_fetched_again(
    server: FileServer, clip: Clip, folder: Path, tmp_path: Path
) -> None:
    _offer(server, folder / WEIGHTS_FILE)
    cached = hf_hub_download(REPOSITORY, WEIGHTS_FILE, endpoint=server.url("").rstrip("/"))
    server.seen.clear()
    weights = fetch_weights(_settings("mine"), Downloads.of(tmp_path))
    assert weights == Path(cached) and server.seen == []
    made = create_clip(_settings("mine"), weights=weights)
    assert torch.allclose(encode_text(made, TEXTS), _quick(clip), atol=1e-5)
    assert not torch.allclose(encode_text(made, TEXTS), encode_text(clip, TEXTS), atol=1e-4), "GELU is another thing"


def test_a_repository_by_its_name(server: FileServer, clip: Clip, folder: Path, tmp_path: Path) -> None:
    """Its own configuration counts, and only what is needed is fetched."""
    _offer(server, folder / CONFIG_FILE, folder / WEIGHTS_FILE, folder / "open_clip_pytorch_model.bin")
    settings = _settings(f"hf-hub:{REPOSITORY}")
    place = fetch_weights(settings, Downloads.of(tmp_path))
    assert place is not None and sorted(path.name for path in place.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]
    assert torch.equal(encode_text(create_clip(settings, weights=place), TEXTS), encode_text(clip, TEXTS))
    with pytest.raises(ModelError, match="another architecture than RN50"):
        create_clip(dataclasses.replace(settings, model="RN50"), weights=place)


def test_refusals_are_one_line(
    server: FileServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = Downloads.of(tmp_path)
    _offer(server, folder / CONFIG_FILE)
    cases = [
        (f"hf-hub:{REPOSITORY}", ModelError, "with weights there; allowed: a repository of open_clip's"),
        ("hf-hub:a--b/c", ModelError, "give OWNER/NAME"),
        ("mine", DownloadError, r"open_clip_model\.safetensors.*or .*open_clip_pytorch_model\.bin"),
    ]
    for pretrained, kind, said in cases:
        with pytest.raises(kind, match=said) as caught:
            fetch_weights(_settings(pretrained), downloads)
        assert "\n" not in str(caught.value)
    gone = Resource(status=[404] * 9, headers={"X-Error-Code": "RepoNotFound"})
    for path in (f"api/models/{REPOSITORY}/tree/main", f"api/models/{REPOSITORY}"):
        server.url(path, gone)
    with pytest.raises(ModelError, match="no such repository, or it is hidden from you") as caught:
        fetch_weights(_settings(f"hf-hub:{REPOSITORY}"), downloads)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between its tries
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"out of reach or broke off .*check the connection") as caught:
        fetch_weights(_settings(f"hf-hub:{REPOSITORY}"), downloads)
    assert "\n" not in str(caught.value)


def test_an_encoder_comes_with_its_settings(
    server: FileServer, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = params.load(Path(__file__).resolve().parents[2] / "profiles/demo.yaml")
    described = write_preprocessing(settings, tmp_path)
    _offer(server, folder / WEIGHTS_FILE, folder / CONFIG_FILE)
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "first"))  # a cache knows what a commit holds
        with pytest.raises(ModelError, match=f"no {described.name} there"):
            c2p.load(f"hf-hub:{REPOSITORY}")
    _offer(server, folder / WEIGHTS_FILE, folder / CONFIG_FILE, described)
    encoder = c2p.load(f"hf-hub:{REPOSITORY}")
    assert encoder.preprocessing == preprocessing_of(settings)
    points = torch.nn.functional.normalize(torch.randn(2000, 3, generator=torch.Generator().manual_seed(1)), dim=-1)
    shutil.copytree(folder, tmp_path / "own")
    expected = c2p.load(tmp_path / "own", settings=settings).encode_points(points)
    assert encoder.encode_points(points).tobytes() == expected.tobytes()
    server.resources.clear()
    cached = c2p.load(tmp_path / "cache" / f"models--{REPOSITORY.replace('/', '--')}")
    assert cached.preprocessing == encoder.preprocessing, "without network, from the hub's cache"
    with pytest.raises(ModelError, match=r"the hub's someone/small: "):
        c2p.load(f"hf-hub:{REPOSITORY}")
