"""Downloads against a real HTTP server on the loopback address: resume, mirrors, digests, and files placed by hand."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from c2p.data.catalogue import COLLECTIONS, RemoteFile
from c2p.data.download import DownloadError, download, fetch

CONTENT = bytes(range(256)) * 8192


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT; /cut stops half-way with the full length announced, /plain ignores ranges, others are 404."""

    requests: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.requests.append((self.path, wanted))
        if self.path not in ("/file", "/cut", "/plain"):
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.path != "/plain" else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        body = CONTENT[start:]
        self.wfile.write(body[: len(body) // 2] if self.path == "/cut" else body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.requests.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()


def test_a_cut_answer_is_resumed(server: str, tmp_path: Path) -> None:
    target = tmp_path / "x.bin"
    with pytest.raises(Exception):  # noqa: B017 - requests reports it in more than one way
        download(f"{server}/cut", target)
    part = tmp_path / "x.bin.part"
    assert not target.exists() and 0 < part.stat().st_size < len(CONTENT)
    size = part.stat().st_size
    download(f"{server}/file", target)
    assert target.read_bytes() == CONTENT and not part.exists()
    assert Handler.requests[-1] == ("/file", f"bytes={size}-")


def test_a_server_without_ranges_starts_over(server: str, tmp_path: Path) -> None:
    (tmp_path / "x.bin.part").write_bytes(b"old")
    assert download(f"{server}/plain", tmp_path / "x.bin").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_starts_over(server: str, tmp_path: Path) -> None:
    (tmp_path / "x.bin.part").write_bytes(CONTENT + b"more")
    assert download(f"{server}/file", tmp_path / "x.bin").read_bytes() == CONTENT


def test_mirrors_are_tried_in_turn(server: str, tmp_path: Path) -> None:
    file = RemoteFile(
        "toys", "x.bin", (f"{server}/absent", f"{server}/file"), sha256=hashlib.sha256(CONTENT).hexdigest()
    )
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert [path for path, _ in Handler.requests] == ["/absent", "/file"]
    fetch(file, tmp_path)
    assert len(Handler.requests) == 2, "a file that is there is not fetched again"


def test_all_mirrors_down_is_one_line(server: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="no mirror answered") as error:
        fetch(RemoteFile("toys", "x.bin", (f"{server}/a", f"{server}/b")), tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path / "toys/x.bin") in str(error.value)


def test_a_wrong_digest_is_refused(server: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="sha256"):
        fetch(RemoteFile("toys", "x.bin", (f"{server}/file",), sha256="0" * 64), tmp_path)


def test_a_form_in_between_says_where_to_place_the_file(tmp_path: Path) -> None:
    file = COLLECTIONS["scanobjectnn"][0]
    with pytest.raises(DownloadError, match="place main_split_nobg") as error:
        fetch(file, tmp_path)
    place = tmp_path / file.collection / file.name
    assert str(place) in str(error.value)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"placed")
    assert fetch(file, tmp_path) == place


def test_a_gated_file_names_the_licence_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client meets a closed port: no network is needed, and the message is still one line."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"02691156\.zip") as error:
        fetch(COLLECTIONS["shapenet"][0], tmp_path)
    assert "\n" not in str(error.value)


def test_the_catalogue_covers_the_profiles() -> None:
    assert set(COLLECTIONS) == {"shapenet", "modelnet40", "modelnet10", "scanobjectnn"}
    assert len(COLLECTIONS["shapenet"]) == 55 + 2 and len(COLLECTIONS["scanobjectnn"]) == 6
    for files in COLLECTIONS.values():
        assert all(f.urls or f.hub or f.terms for f in files)
