"""The hub's real client against a local server that speaks the hub's HTTP: access, refusals in one line, resume."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fileserver import FileServer, Handler, Resource, serving

from c2p.data import transfer
from c2p.data.catalogue import COLLECTIONS, RemoteFile
from c2p.data.download import DownloadError, Downloads, check_room, fetch, wanted
from c2p.data.trust import read_records

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DATA = b"PK\3\4" + bytes(range(256)) * 4096 + b"PK\5\6" + bytes(18)
DIGEST = hashlib.sha256(DATA).hexdigest()
TOKEN = "hf_good"
FILE = COLLECTIONS["shapenet"].files[0]
REPOSITORY = "ShapeNet/ShapeNetCore"


class Hub(Handler):
    """Resolves as the hub does: a redirect to storage with metadata in its headers, refusals with X-Error-Code."""

    def answer(self) -> None:
        hub: FakeHub = self.server  # type: ignore[assignment]
        hub.seen.append((self.command, self.path, dict(self.headers)))
        self.close_connection = True
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if hub.failures:
            self.say(hub.failures.pop())
        elif token not in ("", *hub.tokens):
            self.say(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif REPOSITORY not in self.path and "timm/" not in self.path:
            self.say(401 if not token else 404, {"X-Error-Code": "RepoNotFound"})
        elif hub.gated and token not in hub.accepted:
            code = 403 if token else 401
            self.say(code, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to dataset is restricted"})
        elif not self.path.endswith(("02691156.zip", "model.safetensors")):
            self.say(404, {"X-Error-Code": "EntryNotFound"})
        else:
            told = {"X-Repo-Commit": COMMIT, "X-Linked-Size": str(len(DATA)), "X-Linked-Etag": f'"{hub.digest}"'}
            self.say(302, told | {"ETag": f'"{hub.digest}"', "Location": hub.storage.url("data")})


class FakeHub(FileServer):
    def __init__(self, storage: FileServer) -> None:
        super().__init__()
        self.RequestHandlerClass = Hub
        self.gated, self.tokens, self.accepted = True, [TOKEN, "hf_other"], [TOKEN]
        self.digest = DIGEST
        self.failures: list[int] = []
        self.storage = storage
        storage.url("data", Resource(DATA, etag='"storage"'))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    from huggingface_hub import constants

    monkeypatch.setattr(transfer, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with serving() as storage, FakeHub(storage) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", server.url("").rstrip("/"))
        yield server
        server.shutdown()


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    return Downloads.of(tmp_path)


@pytest.mark.parametrize("login", ["variable", "file"])
def test_the_users_token_opens_the_gate(
    hub: FakeHub, downloads: Downloads, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, login: str
) -> None:
    if login == "variable":
        monkeypatch.setenv("HF_TOKEN", TOKEN)
    else:
        (tmp_path / "token").write_text(TOKEN)
    assert fetch(FILE, downloads).read_bytes() == DATA
    entry = read_records(downloads.lock)["shapenet/02691156.zip"]
    assert (entry.sha256, entry.size) == (DIGEST, len(DATA))
    assert entry.url.endswith(f"/datasets/{REPOSITORY}/resolve/{COMMIT}/02691156.zip")
    assert TOKEN not in downloads.lock.read_text()


def test_a_model_without_a_gate_needs_no_token(hub: FakeHub, downloads: Downloads) -> None:
    hub.gated = False
    file = RemoteFile("clip-vit-b-32", "w.bin", hub="timm/small", hub_name="model.safetensors")
    assert fetch(file, downloads).read_bytes() == DATA
    assert hub.seen[0][1] == "/timm/small/resolve/main/model.safetensors"


@pytest.mark.parametrize(
    ("token", "file", "said"),
    [
        ("", FILE, "is gated and no token is set: ask for access at https://huggingface.co/datasets/ShapeNet"),
        ("hf_other", FILE, "is not open to your token yet: ask for access at https://huggingface.co/datasets/ShapeNet"),
        ("hf_wrong", FILE, "does not know your token .*https://huggingface.co/settings/tokens"),
        (TOKEN, RemoteFile("shapenet", "no.zip", hub=FILE.hub), "ShapeNetCore has no file no.zip"),
        (TOKEN, RemoteFile("shapenet", "no.zip", hub="datasets/no/body"), "the hub has no no/body"),
        ("", RemoteFile("shapenet", "no.zip", hub="datasets/no/body"), "the hub has no no/body"),
    ],
)
def test_refusals_are_one_line_that_says_what_to_do(
    hub: FakeHub, downloads: Downloads, monkeypatch: pytest.MonkeyPatch, token: str, file: RemoteFile, said: str
) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    for action in (lambda: fetch(file, downloads), lambda: check_room([(file,)], downloads)):
        with pytest.raises(DownloadError, match=said) as error:
            action()
        text = str(error.value)
        assert "\n" not in text and f"or place the file at {downloads.path(file)}" in text
        assert token == "" or token not in text
    assert not list(downloads.folder.rglob("*.part"))


def test_a_token_without_the_right(hub: FakeHub, downloads: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.failures = [403]
    with pytest.raises(DownloadError, match="Read access to public gated repos"):
        fetch(FILE, downloads)


def test_an_overloaded_hub_is_asked_again(hub: FakeHub, downloads: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.failures = [503, 429]
    assert fetch(FILE, downloads).read_bytes() == DATA
    hub.failures = [503] * 9
    with pytest.raises(DownloadError, match="the hub answers 503"):
        fetch(RemoteFile("shapenet", "02691156.zip/again/02691156.zip", hub=FILE.hub), Downloads.of(downloads.folder))


def test_offline_and_out_of_reach(hub: FakeHub, downloads: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"out of reach .*check the connection") as error:
        fetch(FILE, downloads)
    assert "\n" not in str(error.value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="switched off by HF_HUB_OFFLINE"):
        fetch(FILE, downloads)


def test_a_broken_transfer_goes_on(hub: FakeHub, downloads: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    half = 8 * transfer.PIECE
    hub.storage.resources["data"].cuts = [half, 0, 0]
    with pytest.raises(DownloadError, match="broke off"):
        fetch(FILE, downloads)
    hub.storage.seen.clear()
    assert fetch(FILE, downloads).read_bytes() == DATA
    assert hub.storage.ranges() == [f"bytes={half}-"]
    assert "Authorization" not in hub.storage.seen[0][2], "the token stays with the hub"


def test_the_hubs_own_digest_is_checked(hub: FakeHub, downloads: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.digest = "e" * 64
    with pytest.raises(DownloadError, match=f"sha256 {DIGEST}, .*{'e' * 64}"):
        fetch(FILE, downloads)
    assert not downloads.path(FILE).exists() and not downloads.lock.exists()


def test_a_file_replaced_on_the_hub_is_told_before_it_is_fetched(
    hub: FakeHub, downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    fetch(FILE, downloads).unlink()
    hub.digest = "e" * 64
    hub.seen.clear()
    with pytest.raises(DownloadError, match=r"remove shapenet/02691156\.zip from catalogue\.lock"):
        fetch(FILE, downloads)
    assert [method for method, _, _ in hub.seen] == ["HEAD"]


def test_weights_fall_back_to_their_other_form(
    hub: FakeHub, downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Access to the weights is asked before any transfer; a refusal of one form is no refusal of the other."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    entries = wanted(COLLECTIONS["clip-vit-b-32"], downloads)
    assert [f.name for f in entries[0]] == ["open_clip_model.safetensors", "ViT-B-32.pt"]
    assert check_room(entries, downloads) == 0
