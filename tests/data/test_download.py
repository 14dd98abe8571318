"""Files of the catalogue: mirrors, digests, trust on first use, placing by hand, many processes, room on the disk."""

import hashlib
import io
import json
import logging
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fileserver import FileServer, Resource, serving

from c2p.data import slots, transfer
from c2p.data.catalogue import COLLECTIONS, RemoteFile, weights_of
from c2p.data.download import DownloadError, Downloads, check_room, fetch, fetch_any, under_way, wanted
from c2p.data.trust import LockError, Record, read_records, record
from c2p.data.verified import is_verified

CONTENT = bytes(range(256)) * 8192
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSES_S", (0.0, 0.0))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as server:
        yield server


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    return Downloads.of(tmp_path)


def toy(*urls: str, name: str = "x.bin", **known: object) -> RemoteFile:
    return RemoteFile("toys", name, urls, **known)  # type: ignore[arg-type]


def visible(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


def test_mirrors_are_tried_in_turn(server: FileServer, downloads: Downloads) -> None:
    file = toy(server.url("absent"), server.url("f", Resource(CONTENT)), sha256=DIGEST)
    assert fetch(file, downloads).read_bytes() == CONTENT
    assert [path for _, path, _ in server.seen] == ["absent", "f"]
    fetch(file, downloads)
    assert len(server.seen) == 2, "a file that is there is not fetched again"
    assert visible(downloads.folder) == ["x.bin"] and not downloads.lock.exists()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (Resource(CONTENT[::-1]), "sha256"),
        (Resource(CONTENT[:-1]), "2097151 bytes; expected 2097152"),
        (Resource(b"<html>sign in</html>"), "expected 2097152"),
        (Resource(b"<html>sign in</html>", length=-1), "web page"),
        (Resource(CONTENT, cuts=[100, 100, 100], ranges=False), "broke off"),
        (Resource(status=[500] * 3), "500"),
        (Resource(redirect="ftp://127.0.0.1/x"), "redirects"),
    ],
)
def test_a_bad_mirror_is_passed_over(
    server: FileServer, downloads: Downloads, caplog: pytest.LogCaptureFixture, bad: Resource, said: str
) -> None:
    urls = server.url("bad", bad), server.url("good", Resource(CONTENT))
    assert fetch(toy(*urls, sha256=DIGEST, size=len(CONTENT)), downloads).read_bytes() == CONTENT
    assert said in caplog.text and urls[0] in caplog.text
    assert visible(downloads.folder) == ["x.bin"]


def test_all_mirrors_down_is_one_line(server: FileServer, downloads: Downloads) -> None:
    with pytest.raises(DownloadError, match=r"404.*404.*or place the file at") as error:
        fetch(toy(server.url("a"), server.url("b")), downloads)
    assert "\n" not in str(error.value) and str(downloads.folder / "toys/x.bin") in str(error.value)


def test_a_part_that_leads_to_a_wrong_digest_is_dropped(server: FileServer, downloads: Downloads) -> None:
    """The file changed while its part was waiting, and the server tells no validator: found by the digest."""
    resource = Resource(CONTENT[::-1], cuts=[1 << 20, 0, 0])
    file = toy(server.url("f", resource), sha256=DIGEST, size=len(CONTENT))
    with pytest.raises(DownloadError, match="broke off"):
        fetch(file, downloads)
    assert under_way(downloads) == [("toys/x.bin", 1 << 20, len(CONTENT))]
    resource.content = CONTENT
    assert fetch(file, downloads).read_bytes() == CONTENT
    assert server.ranges()[-2:] == [f"bytes={1 << 20}-", ""] and under_way(downloads) == []


def test_one_line_tells_size_and_speed(
    server: FileServer, downloads: Downloads, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fetch(toy(server.url("f", Resource(CONTENT))), downloads)
    lines = [r.getMessage() for r in caplog.records if "MB/s" in r.getMessage()]
    assert len(lines) == 1 and lines[0].startswith("toys/x.bin: 2.1 MB at ")


def test_an_unknown_digest_is_trusted_once(server: FileServer, downloads: Downloads) -> None:
    file = toy(server.url("f", Resource(CONTENT)))
    path = fetch(file, downloads)
    assert read_records(downloads.lock) == {"toys/x.bin": Record(DIGEST, len(CONTENT), file.urls[0])}
    text = downloads.lock.read_text()
    path.unlink()
    fetch(file, downloads)
    assert downloads.lock.read_text() == text
    path.unlink()
    server.resources["f"].content = CONTENT[::-1]
    with pytest.raises(DownloadError, match=r"catalogue\.lock says .*remove toys/x\.bin from catalogue\.lock") as error:
        fetch(file, downloads)
    assert "\n" not in str(error.value) and visible(downloads.folder) == []
    downloads.lock.unlink()
    assert fetch(file, downloads).read_bytes() == CONTENT[::-1]


def test_the_lock_is_sorted_and_shared(downloads: Downloads) -> None:
    entries = {f"c/{n}": Record(f"{n:064x}", n, "u") for n in (3, 1, 2)}
    for key, entry in entries.items():
        record(downloads.lock, key, entry)
    data = json.loads(downloads.lock.read_text())
    assert list(data) == sorted(entries) and data["c/1"] == {"sha256": f"{1:064x}", "size": 1, "url": "u"}
    with pytest.raises(LockError, match="recorded with sha256"):
        record(downloads.lock, "c/1", Record("f" * 64, 1, "u"))


def test_processes_record_side_by_side(downloads: Downloads) -> None:
    code = (
        "import sys; from pathlib import Path; from c2p.data.trust import Record, record;"
        "[record(Path(sys.argv[1]), f'{sys.argv[2]}/{n}', Record('0' * 64, n, '')) for n in range(20)]"
    )
    many = [subprocess.Popen([sys.executable, "-c", code, downloads.lock, str(n)], cwd=ROOT) for n in range(3)]
    assert [process.wait() for process in many] == [0, 0, 0]
    assert len(read_records(downloads.lock)) == 60


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"a": 1}',
        '{"a": {"sha256": "00", "size": 1, "url": ""}}',
        '{"a": {"sha256": "' + "0" * 64 + '", "size": "1", "url": ""}}',
        '{"a": {"sha256": "' + "0" * 64 + '", "size": 1}}',
        '{"a": {"sha256": "' + "0" * 64 + '", "size": 1, "url": "", "note": ""}}',
        "\udcff",
    ],
)
def test_a_damaged_lock_is_one_line(server: FileServer, downloads: Downloads, text: str) -> None:
    downloads.lock.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(LockError, match="git checkout") as error:
        fetch(toy(server.url("f", Resource(CONTENT))), downloads)
    assert "\n" not in str(error.value) and server.seen == []


def test_a_file_placed_by_hand_is_checked_and_recorded(downloads: Downloads) -> None:
    known, unknown = toy(sha256=DIGEST, name="known.bin"), toy(name="unknown.bin")
    for file in (known, unknown):
        downloads.path(file).parent.mkdir(parents=True, exist_ok=True)
        downloads.path(file).write_bytes(CONTENT)
        assert fetch(file, downloads) == downloads.path(file) and is_verified(downloads.path(file), DIGEST)
    assert read_records(downloads.lock) == {"toys/unknown.bin": Record(DIGEST, len(CONTENT), "placed by hand")}
    for file, says in ((known, "the catalogue says"), (unknown, r"catalogue\.lock says")):
        downloads.path(file).write_bytes(CONTENT + b"x")
        assert not is_verified(downloads.path(file))
        with pytest.raises(DownloadError, match=says):
            fetch(file, downloads)
        assert downloads.path(file).exists(), "what the user placed is the user's"


@pytest.mark.parametrize("content", [b"<html>", b"PK\3\4 half a zip"])
def test_a_wrong_thing_placed_by_hand(downloads: Downloads, content: bytes) -> None:
    file = COLLECTIONS["shapenet"].files[0]
    downloads.path(file).parent.mkdir(parents=True)
    downloads.path(file).write_bytes(content)
    with pytest.raises(DownloadError, match=r"02691156\.zip: a .*replace it") as error:
        fetch(file, downloads)
    assert "\n" not in str(error.value) and not downloads.lock.exists()


def test_a_form_in_between_says_where_to_place_what(downloads: Downloads) -> None:
    collection = COLLECTIONS["scanobjectnn"]
    entries = wanted(collection, downloads)
    assert len(entries) == 6
    with pytest.raises(DownloadError, match="fill in the form at https://hkust-vgd") as error:
        check_room(entries, downloads)
    text = str(error.value)
    assert "\n" not in text and str(downloads.path(collection.files[0])) in text
    archive = downloads.folder / "scanobjectnn" / "h5_files.zip"
    assert str(archive) in text
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("h5_files/a", b"x")
    assert wanted(collection, downloads) == [(collection.instead[0],)]
    assert check_room(wanted(collection, downloads), downloads) == 0
    assert fetch_any(wanted(collection, downloads)[0], downloads) == archive


@pytest.mark.parametrize("name", ["modelnet40_manually_aligned.zip", "modelnet40_manually_aligned.tar.gz"])
def test_modelnet40_in_another_packing(downloads: Downloads, name: str) -> None:
    collection = COLLECTIONS["modelnet40"]
    assert [f.name for f in wanted(collection, downloads)[0]] == [
        "modelnet40_manually_aligned.tar",
        "modelnet40_manually_aligned.tar.gz",
    ]
    placed = downloads.folder / "modelnet40" / name
    placed.parent.mkdir(parents=True)
    placed.write_bytes(b"")
    assert [f.name for f in wanted(collection, downloads)[0]] == [name]
    downloads.path(collection.files[0]).write_bytes(b"")
    assert wanted(collection, downloads)[0][0].name == "modelnet40_manually_aligned.tar"


def test_the_first_that_can_be_had_is_taken(server: FileServer, downloads: Downloads) -> None:
    choice = toy(server.url("a"), name="a"), toy(server.url("b", Resource(b"bb")), name="b"), toy(name="c")
    assert fetch_any(choice, downloads).name == "b"
    server.seen.clear()
    assert fetch_any(choice, downloads).name == "b" and server.seen == [], "what is there comes first"


def test_room_is_needed_for_all_that_is_missing(
    server: FileServer, downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes from the catalogue, else asked for; a part that has arrived is not needed again."""
    entries = [
        (toy("http://127.0.0.1:9/x", name="known", size=1000),),
        (toy(server.url("f", Resource(CONTENT, etag='"1"')), name="asked"),),
        (toy(server.url("g", Resource(CONTENT, cuts=[1 << 20, 0, 0], etag='"1"')), name="begun"),),
        (toy(server.url("h", Resource(b"here")), name="there"),),
    ]
    fetch(entries[3][0], downloads)
    with pytest.raises(DownloadError):
        fetch(entries[2][0], downloads)
    need = 1000 + len(CONTENT) + len(CONTENT) - (1 << 20)
    assert check_room(entries, downloads) == need
    free = shutil.disk_usage(downloads.folder)._replace(free=need + transfer.SPARE_BYTES - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(OSError, match=r"4 files: 0\.00 GB to come, 0\.27 GB free: make room"):
        check_room(entries, downloads)


def test_two_processes_fetch_a_file_once(server: FileServer, downloads: Downloads) -> None:
    url = server.url("f", Resource(CONTENT, etag='"1"'))
    code = (
        "import sys; from pathlib import Path; from c2p.data.download import Downloads, fetch;"
        "from c2p.data.catalogue import RemoteFile;"
        "fetch(RemoteFile('toys', 'x.bin', (sys.argv[2],)), Downloads.of(Path(sys.argv[1])))"
    )
    root = str(downloads.lock.parent)
    many = [subprocess.Popen([sys.executable, "-c", code, root, url], cwd=ROOT) for _ in range(3)]
    assert [process.wait() for process in many] == [0, 0, 0]
    assert len(server.ranges()) == 1
    assert (downloads.folder / "toys/x.bin").read_bytes() == CONTENT and visible(downloads.folder) == ["x.bin"]


def test_a_bar_on_a_terminal(server: FileServer, downloads: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, told = Terminal(), []
    monkeypatch.setattr(sys, "stderr", terminal)
    fetch(toy(server.url("f", Resource(CONTENT))), downloads, progress=lambda done, total: told.append((done, total)))
    assert "toys/x.bin" in terminal.getvalue() and told[-1] == (len(CONTENT), len(CONTENT))


def test_the_catalogue_is_complete() -> None:
    assert {"shapenet", "modelnet40", "modelnet10", "scanobjectnn", "clip-vit-b-32"} <= set(COLLECTIONS)
    assert len(COLLECTIONS["shapenet"].files) == 55 + 2 and len(COLLECTIONS["scanobjectnn"].files) == 6
    for name, collection in COLLECTIONS.items():
        files = collection.files + collection.instead
        assert len({f.key for f in files}) == len(files) and all(f.collection == name == collection.name for f in files)
        assert collection.licence and collection.access and collection.citation and collection.title
        assert collection.gated or all(file.offered for file in collection.files)
        for file in files:
            assert not Path(file.name).is_absolute() and ".." not in Path(file.name).parts
            assert all(url.startswith("http") for url in file.urls) and len(file.sha256) in (0, 64)
            assert all("openaipublic" not in url or file.sha256 in url for url in file.urls)
    assert weights_of("ViT-B-32-quickgelu", "openai") is COLLECTIONS["clip-vit-b-32"]
    assert weights_of("ViT-B-32", "laion2b_s34b_b79k") is None and weights_of("c2p-demo", "") is None


def test_at_most_a_few_files_at_once(tmp_path: Path) -> None:
    """Slots are numbered, a free one is taken again, and when all are held one has to wait."""
    with ExitStack() as stack:
        assert [stack.enter_context(slots.slot(tmp_path)) for _ in range(slots.AT_ONCE)] == list(range(slots.AT_ONCE))
        assert slots._take(tmp_path) is None
    with slots.slot(tmp_path) as again:
        assert again == 0
