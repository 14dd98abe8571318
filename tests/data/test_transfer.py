"""Transfers against a real server on the loopback address: resume, changed files, and servers that lie."""

import gzip
import io
import json
import logging
import os
import signal
import ssl
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fileserver import FileServer, Resource, serving

from c2p.data import transfer as module
from c2p.data.kinds import KindError, check_head, check_whole
from c2p.data.transfer import Offer, TransferError, discard, head, part_of, read_part, transfer

CONTENT = bytes(range(256)) * 8192
CUT = 10 * module.PIECE
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES_S", (0.0, 0.0))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as server:
        yield server


def bring(offer: Offer | str, target: Path) -> bytes:
    return transfer(Offer(offer) if isinstance(offer, str) else offer, target).read_bytes()


def begin(url: str, target: Path, server: FileServer, **offer: str) -> int:
    """A part that a cut-off transfer leaves; its size."""
    path = url.rsplit("/", 1)[1]
    resource = server.resources[path]
    resource.cuts += [len(resource.content) // 2] + [0] * len(module.PAUSES_S)
    with pytest.raises(TransferError, match="broke off"):
        transfer(Offer(url, **offer), target)
    server.seen.clear()
    return part_of(target).stat().st_size


@pytest.mark.parametrize("validator", [{"etag": '"1"'}, {"modified": "Mon, 01 Jan 2024 00:00:00 GMT"}])
def test_a_cut_answer_goes_on_by_itself_and_later(server: FileServer, tmp_path: Path, validator: dict) -> None:
    url = server.url("f.bin", Resource(CONTENT, cuts=[65536, 131072], **validator))
    assert bring(url, tmp_path / "f.bin") == CONTENT
    assert server.ranges() == ["", "bytes=65536-", "bytes=196608-"]
    size = begin(url, tmp_path / "g.bin", server)
    assert 0 < size < len(CONTENT)
    assert bring(url, tmp_path / "g.bin") == CONTENT
    assert server.ranges() == [f"bytes={size}-"]
    assert server.seen[0][2]["If-Range"] == next(iter(validator.values()))


@pytest.mark.parametrize("heeds", [True, False], ids=["whole file sent", "If-Range ignored"])
def test_a_changed_file_is_not_glued_to_an_old_part(server: FileServer, tmp_path: Path, heeds: bool) -> None:
    url = server.url("f.bin", Resource(CONTENT, etag='"1"', heeds_if_range=heeds))
    begin(url, tmp_path / "f.bin", server)
    other = bytes(reversed(CONTENT))
    server.resources["f.bin"].content, server.resources["f.bin"].etag = other, '"2"'
    assert bring(url, tmp_path / "f.bin") == other


@pytest.mark.parametrize("size", [len(CONTENT) // 2 + 7, len(CONTENT) * 2])
def test_a_changed_length_is_not_glued(server: FileServer, tmp_path: Path, size: int) -> None:
    """A known digest lets a part go on without a validator; the length still has to agree."""
    url = server.url("f.bin", Resource(CONTENT))
    begin(url, tmp_path / "f.bin", server, sha256="a" * 64)
    other = (CONTENT * 2)[:size]
    server.resources["f.bin"].content = other
    assert bring(Offer(url, sha256="a" * 64), tmp_path / "f.bin") == other


def test_without_validator_or_digest_it_starts_over(server: FileServer, tmp_path: Path) -> None:
    url = server.url("f.bin", Resource(CONTENT))
    begin(url, tmp_path / "f.bin", server)
    assert bring(url, tmp_path / "f.bin") == CONTENT and server.ranges() == [""]


@pytest.mark.parametrize("etag", ['"1"', '"2"', ""])
def test_another_mirror_continues_only_what_is_the_same(server: FileServer, tmp_path: Path, etag: str) -> None:
    url = server.url("f.bin", Resource(CONTENT, etag='"1"'))
    size = begin(url, tmp_path / "f.bin", server)
    other = CONTENT if etag == '"1"' else bytes(reversed(CONTENT))
    assert bring(server.url("mirror.bin", Resource(other, etag=etag)), tmp_path / "f.bin") == other
    assert server.ranges() == [f"bytes={size}-"]
    assert server.seen[0][2]["If-Range"] == '"1"'


def test_another_mirror_of_another_size_starts_over(server: FileServer, tmp_path: Path) -> None:
    url = server.url("f.bin", Resource(CONTENT, etag='"1"'))
    begin(url, tmp_path / "f.bin", server)
    mirror = server.url("mirror.bin", Resource(CONTENT + b"x", etag='"1"'))
    assert bring(Offer(mirror, size=len(CONTENT) + 1), tmp_path / "f.bin") == CONTENT + b"x"
    assert server.ranges() == [""]


def test_a_range_ignored_is_a_fresh_start(server: FileServer, tmp_path: Path) -> None:
    url = server.url("f.bin", Resource(CONTENT, etag='"1"'))
    begin(url, tmp_path / "f.bin", server)
    server.resources["f.bin"].ranges = False
    assert bring(url, tmp_path / "f.bin") == CONTENT


def test_a_complete_part_is_taken_without_a_request(server: FileServer, tmp_path: Path) -> None:
    url = server.url("f.bin", Resource(CONTENT, etag='"1"'))
    bring(url, tmp_path / "f.bin")
    server.seen.clear()
    assert bring(url, tmp_path / "f.bin") == CONTENT and server.seen == []


def test_a_part_longer_than_the_file_starts_over(server: FileServer, tmp_path: Path) -> None:
    url = server.url("f.bin", Resource(CONTENT, etag='"1"'))
    bring(url, tmp_path / "f.bin")
    with part_of(tmp_path / "f.bin").open("ab") as file:
        file.write(b"more")
    assert bring(url, tmp_path / "f.bin") == CONTENT


@pytest.mark.parametrize("note", ["", "{", "[]", '{"url": 1}', '{"url":"","etag":"","modified":"","total":"x"}'])
def test_a_damaged_note_starts_over(server: FileServer, tmp_path: Path, note: str) -> None:
    url = server.url("f.bin", Resource(CONTENT, etag='"1"'))
    begin(url, tmp_path / "f.bin", server)
    (tmp_path / "f.bin.part.json").write_text(note)
    assert bring(url, tmp_path / "f.bin") == CONTENT and server.ranges() == [""]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_can_pass_is_tried_again(server: FileServer, tmp_path: Path, status: int) -> None:
    url = server.url("f.bin", Resource(CONTENT, status=[status, status], headers={"Retry-After": "0"}))
    assert bring(url, tmp_path / "f.bin") == CONTENT
    server.resources["f.bin"].status = [status] * 9
    with pytest.raises(TransferError, match=f"{status}.*3 times"):
        transfer(Offer(url), tmp_path / "g.bin")


@pytest.mark.parametrize("status", [206, 400, 401, 403, 404, 410])
def test_a_refusal_is_not_tried_again(server: FileServer, tmp_path: Path, status: int) -> None:
    """206 is one where no range was asked for."""
    with pytest.raises(TransferError, match=f"answers {status}"):
        transfer(Offer(server.url("f.bin", Resource(CONTENT, status=[status]))), tmp_path / "f.bin")
    assert len(server.seen) == 1 and not list(tmp_path.iterdir())


def test_a_closed_port_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="3 times") as error:
        transfer(Offer("http://127.0.0.1:9/f.bin"), tmp_path / "f.bin")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("told", [len(CONTENT) + 100, 10**15])
def test_a_length_that_is_too_large(server: FileServer, tmp_path: Path, told: int) -> None:
    url = server.url("f.bin", Resource(CONTENT, length=told, etag='"1"'))
    with pytest.raises((TransferError, OSError), match=r"broke off|GB free|fits no longer"):
        transfer(Offer(url), tmp_path / "f.bin")
    with pytest.raises(TransferError, match=f"{told} bytes; expected {len(CONTENT)}"):
        transfer(Offer(url, size=len(CONTENT)), tmp_path / "g.bin")


def test_a_length_that_is_too_small_is_found_out(server: FileServer, tmp_path: Path) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("a", CONTENT)
    part = transfer(Offer(server.url("f.zip", Resource(data.getvalue(), length=1000))), tmp_path / "f.zip")
    with pytest.raises(KindError, match="cut short"):
        check_whole("f.zip", part)


def test_an_endless_body_ends(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 3 << 20)
    url = server.url("f.bin", Resource(b"x", length=-1, endless=True))
    for offer in (Offer(url), Offer(url, size=1000)):
        with pytest.raises(TransferError, match="sends more than"):
            transfer(offer, tmp_path / "f.bin")
        assert not list(tmp_path.iterdir()), "nothing is left of it"


@pytest.mark.parametrize("name", ["f.txt", "f.tar.gz"])
def test_compression_nobody_asked_for(server: FileServer, tmp_path: Path, name: str) -> None:
    """A text arrives as it is; an archive that is compressed itself is not unpacked on the way."""
    packed = gzip.compress(b"text" * 9999, mtime=0)
    url = server.url(name, Resource(packed, headers={"Content-Encoding": "gzip"}))
    assert bring(url, tmp_path / name) == (packed if name.endswith("gz") else b"text" * 9999)
    assert server.seen[0][2]["Accept-Encoding"] == "identity"


def test_a_compressed_bomb_ends(server: FileServer, tmp_path: Path) -> None:
    packed = gzip.compress(bytes(50 << 20))
    url = server.url("f.bin", Resource(packed, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(TransferError, match="sends more than the 1000000 bytes"):
        transfer(Offer(url, size=1_000_000), tmp_path / "f.bin")


def test_a_page_in_place_of_an_archive_stops_at_once(server: FileServer, tmp_path: Path) -> None:
    page = b"<!DOCTYPE html><html>" + b"sorry " * 10
    for name in ("f.zip", "f.tar", "f.h5", "f.txt", "f.safetensors", "f.pt"):
        url = server.url(name, Resource(page, length=-1, endless=True))
        with pytest.raises(TransferError, match="web page"):
            transfer(Offer(url), tmp_path / name)


def test_kinds() -> None:
    for name, data in (("a.zip", b"PK\3\4"), ("a.h5", b"\x89HDF\r\n\x1a\n"), ("a.tar", bytes(257) + b"ustar\0")):
        check_head(name, data)
        with pytest.raises(KindError, match="begins no"):
            check_head(name, b"something else")
    with pytest.raises(KindError, match="LFS pointer"):
        check_head("a.zip", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n")


@pytest.mark.parametrize("to", ["moved.bin", "/moved.bin"])
def test_redirects_are_followed(server: FileServer, tmp_path: Path, to: str) -> None:
    server.url("moved.bin", Resource(CONTENT))
    assert bring(server.url("f.bin", Resource(redirect=to)), tmp_path / "f.bin") == CONTENT
    assert head(Offer(server.url("f.bin"))) == len(CONTENT)


def test_a_token_stays_with_its_host(server: FileServer, tmp_path: Path) -> None:
    with serving() as other:
        url = server.url("f.bin", Resource(redirect=other.url("f.bin", Resource(CONTENT)), token="secret"))
        assert bring(Offer(url, headers={"Authorization": "Bearer secret"}), tmp_path / "f.bin") == CONTENT
        assert "Authorization" not in other.seen[0][2]


def test_circular_redirects_end(server: FileServer, tmp_path: Path) -> None:
    url = server.url("f.bin", Resource(redirect="f.bin"))
    with pytest.raises(TransferError, match="redirects more than"):
        transfer(Offer(url), tmp_path / "f.bin")


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key."""
    x509 = pytest.importorskip("cryptography.x509")
    import datetime
    import ipaddress

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "c.pem").write_bytes(made.public_bytes(pem) + key.private_bytes(pem, form, serialization.NoEncryption()))
    return folder / "c.pem"


def test_https_does_not_fall_back_to_http(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    plain = server.url("f.bin", Resource(CONTENT))
    with serving() as secure:
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        there = secure.url("f.bin", Resource(CONTENT)).replace("http:", "https:")
        moved = secure.url("moved.bin", Resource(redirect=plain)).replace("http:", "https:")
        assert bring(there, tmp_path / "f.bin") == CONTENT
        with pytest.raises(TransferError, match="redirects from https to http"):
            transfer(Offer(moved), tmp_path / "g.bin")
    assert server.seen == [], "nothing was asked over http"


def test_a_full_disk_is_no_fault_of_the_mirror(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SPARE_BYTES", 1 << 60)
    for length in (None, -1):
        url = server.url("f.bin", Resource(CONTENT, length=length))
        with pytest.raises(OSError, match="make room and run again") as error:
            transfer(Offer(url), tmp_path / "f.bin")
        assert not isinstance(error.value, TransferError)


def test_progress_is_told(server: FileServer, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    url = server.url("f.bin", Resource(CONTENT, etag='"1"', cuts=[65536]))
    transfer(Offer(url), tmp_path / "f.bin", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (len(CONTENT), len(CONTENT)) and [d for d, _ in told] == sorted(d for d, _ in told)


def test_killed_at_any_byte_it_goes_on(server: FileServer, tmp_path: Path) -> None:
    """A process that fetches slowly is killed with SIGKILL; the next one brings the rest."""
    url = server.url("f.bin", Resource(CONTENT, etag='"1"', length=len(CONTENT), cuts=[CUT]))
    code = (
        "import sys, time; from pathlib import Path; from c2p.data import transfer as t; t.PAUSES_S = (600.0,);"
        "t.transfer(t.Offer(sys.argv[1]), Path(sys.argv[2]))"
    )
    target = tmp_path / "f.bin"
    process = subprocess.Popen([sys.executable, "-c", code, url, str(target)], cwd=ROOT)
    deadline = time.monotonic() + 30
    while not ((found := read_part(target)) and found[0] >= CUT):
        assert time.monotonic() < deadline and process.poll() is None
        os.sched_yield()
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.seen.clear()
    assert bring(url, target) == CONTENT and server.ranges() == [f"bytes={CUT}-"]


def test_discard_leaves_nothing(server: FileServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bring(server.url("f.bin", Resource(CONTENT, etag='"1"', cuts=[5])), tmp_path / "f.bin")
    assert "f.bin: " in caplog.text
    assert json.loads((tmp_path / "f.bin.part.json").read_text())["etag"] == '"1"'
    discard(tmp_path / "f.bin")
    assert not list(tmp_path.iterdir()) and read_part(tmp_path / "f.bin") is None
