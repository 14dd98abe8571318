"""Files on a disk, on an S3 server, on a web server and in memory: the same bytes, and one line for what goes wrong."""

import http.server
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import requests

from c2p.data import places
from c2p.data.places import PlaceDenied, PlaceError, PlaceMissing, PlaceUnreachable

DATA = bytes(range(256)) * 5000


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files as web servers do, ranges included, and remembers how much."""

    protocol_version = "HTTP/1.1"
    sent: list[int]

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            data = data[first : last + 1]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.sent.append(len(data))

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path, list[int]]]:
    """Address of a web server, the folder it serves, and the sizes of what it has sent."""
    folder = tmp_path / "web"
    folder.mkdir()
    handler = type("Handler", (RangeHandler,), {"sent": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder, handler.sent
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["disk", "s3", "memory", "http"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> places.Place:
    """A folder that holds `sub/data.bin` (DATA) and `note.txt`, of each kind."""
    local = tmp_path / "local"
    (local / "sub").mkdir(parents=True)
    (local / "sub" / "data.bin").write_bytes(DATA)
    (local / "note.txt").write_text("note")
    if request.param == "disk":
        return local
    if request.param == "http":
        address, served, _ = request.getfixturevalue("web")
        local.rename(served / "local")
        return f"{address}/local"
    base = f"{request.getfixturevalue('s3')}/f" if request.param == "s3" else f"memory://{tmp_path.name}"
    for name in ("sub/data.bin", "note.txt"):
        places.upload(local / name, f"{base}/{name}", ".tmp-upload")
    return base


def test_every_kind_of_place_reads_the_same(folder: places.Place, tmp_path: Path) -> None:
    data = places.join(folder, "sub", "data.bin")
    assert places.exists(data) and not places.exists(places.join(folder, "sub", "other.bin"))
    assert places.size(data) == len(DATA) == places.state(data)[0 if places.is_url(data) else 1]
    assert places.read_bytes(data) == DATA
    assert places.read_range(data, 1000, 10) == DATA[1000:1010] and places.read_range(data, 5, 0) == b""
    with places.open_file(data) as file:
        file.seek(-3, 2)
        assert file.read() == DATA[-3:]
        file.seek(700_000)
        assert file.read(5) == DATA[700_000:700_005]
        assert file.tell() == 700_005
    places.download(data, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA
    with places.local_copy(data) as path:
        assert path.name == "data.bin" == places.name_of(data) and path.read_bytes() == DATA


def test_listing_and_removing(folder: places.Place) -> None:
    if str(folder).startswith("http"):
        pytest.skip("a web server lists nothing")
    assert places.list_names(folder) == ["note.txt"] and places.list_names(places.join(folder, "none")) == []
    assert places.walk(folder) == ["note.txt", "sub/data.bin"]
    for _ in range(2):
        places.remove(places.join(folder, "note.txt"))
    assert places.walk(folder) == ["sub/data.bin"]


def test_an_upload_replaces_and_leaves_nothing_else(s3: str, tmp_path: Path) -> None:
    for base in (s3, f"memory://{tmp_path.name}"):
        for content in (b"old", b"new"):
            (tmp_path / "x").write_bytes(content)
            places.upload(tmp_path / "x", f"{base}/a/x", ".tmp-upload")
            assert places.read_bytes(f"{base}/a/x") == content
        assert places.walk(base) == ["a/x"]


def test_file_urls_are_paths(tmp_path: Path) -> None:
    assert places.to_place(f"file://{tmp_path}") == tmp_path == places.to_place(str(tmp_path))
    assert places.to_place("~/x") == Path.home() / "x"
    assert places.to_place("s3://bucket/x/") == "s3://bucket/x"


def one_line(error: Exception) -> str:
    assert "\n" not in str(error) and isinstance(error, OSError) and error.errno is not None
    return str(error)


@pytest.mark.parametrize("read", [places.size, places.read_bytes, places.open_file, places.state])
def test_absent_and_unreachable_are_told_apart(read, web, s3: str) -> None:
    address = web[0]
    for absent in (f"{address}/none", f"{s3}/none", f"{s3}-none/x"):
        with pytest.raises(PlaceMissing) as error:
            read(absent)
        assert one_line(error.value) == f"{absent}: nothing lies there; check the address"
    with pytest.raises(PlaceUnreachable) as error:
        read("http://127.0.0.1:1/x")
    assert one_line(error.value).startswith("http://127.0.0.1:1/x: Cannot connect")
    assert isinstance(error.value, ConnectionError), "the flow tries again"
    with pytest.raises(PlaceError, match="Protocol not known: quux"):
        read("quux://x/y")


def test_a_network_that_fails_is_no_absent_file() -> None:
    with pytest.raises(PlaceUnreachable):
        places.exists("http://127.0.0.1:1/x")


def test_denied_is_one_line(s3: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    requests.post(f"{s3_server}/moto-api/reset-auth", data=b"0", timeout=10)  # from now on keys are checked
    try:
        with pytest.raises(PlaceDenied) as error:
            places.read_bytes(f"{s3}/x")
        assert one_line(error.value).startswith(f"{s3}/x: access denied (")
    finally:
        requests.post(f"{s3_server}/moto-api/reset-auth", data=b"inf", timeout=10)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(PlaceDenied, match="access denied"):
        places.read_bytes(f"{s3}/x")


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def lacks(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", lacks)
    with pytest.raises(PlaceError, match=r"c2p\[s3\]"):
        places.exists("s3://bucket/x")


def test_a_server_without_ranges_is_refused(tmp_path: Path) -> None:
    """Python's own web server sends whole files whatever is asked for."""
    (tmp_path / "data.bin").write_bytes(bytes(2 * places.BLOCK))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with places.open_file(f"http://127.0.0.1:{server.server_port}/data.bin") as file:
            file.seek(places.BLOCK + 100)
            with pytest.raises(PlaceError) as error:
                file.read(10)
        one_line(error.value)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_reading_a_little_of_a_large_file_fetches_little(web) -> None:
    address, folder, sent = web
    (folder / "large.bin").write_bytes(bytes(20 * places.BLOCK))
    with places.open_file(f"{address}/large.bin") as file:
        for place in (0, 1000, 2000, 10 * places.BLOCK):
            file.seek(place)
            file.read(100)
    assert sum(sent) <= 3 * places.BLOCK
