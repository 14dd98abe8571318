"""Archives: members by name, hostile ones refused."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from c2p.data import archive as module
from c2p.data.archive import Archive, ArchiveError


def make_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_reads_members_by_name(tmp_path: Path, make) -> None:
    members = {"b/2.off": b"two", "a/1.off": b"one", "a/x/3.off": b"three", "a.b/4.off": b"four"}
    archive = Archive(make(tmp_path / "x.bin", members))
    assert archive.names == sorted(members)
    assert all(archive.read(name) == data for name, data in members.items())
    assert archive.within("a") == ["a/1.off", "a/x/3.off"]
    assert "a/1.off" in archive and "a/9.off" not in archive


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("name", ["/etc/passwd", "../up.off", "a/../../up.off", "..\\up.off", "C:/x.off"])
def test_names_that_leave_the_archive_are_not_members(tmp_path: Path, make, name: str) -> None:
    archive = Archive(make(tmp_path / "x.bin", {name: b"bad", "good.off": b"good"}))
    assert archive.names == ["good.off"]
    with pytest.raises(ArchiveError, match="no member"):
        archive.read(name)


def test_hidden_and_macos_members_do_not_count(tmp_path: Path) -> None:
    archive = Archive(
        make_zip(tmp_path / "x.zip", {"__MACOSX/a.off": b"", ".a/b.off": b"", "a/._b.off": b"", "a/b.off": b""})
    )
    assert archive.names == ["a/b.off"]


def test_a_corrupt_member_is_one_line(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a.off": b"hello world", "b.off": b"fine"}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"hello")] ^= 0xFF
    path.write_bytes(data)
    archive = Archive(path)
    assert archive.read("b.off") == b"fine"
    with pytest.raises(ArchiveError, match=r"a\.off can't be read") as error:
        archive.read("a.off")
    assert "\n" not in str(error.value)


def test_a_zip_bomb_is_refused_by_its_declared_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_zip(tmp_path / "x.zip", {"bomb.off": b"0" * 10_000_000})
    monkeypatch.setattr(module, "MEMBER_LIMIT", 1_000_000)
    with pytest.raises(ArchiveError, match="10000000 bytes; allowed: up to 1000000"):
        Archive(path).read("bomb.off")


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COUNT_LIMIT", 2)
    with pytest.raises(ArchiveError, match="3 members"):
        Archive(make_zip(tmp_path / "x.zip", {f"{i}.off": b"" for i in range(3)}))


@pytest.mark.parametrize("data", [b"", b"not an archive", b"PK\x03\x04 cut"])
def test_files_that_are_no_archives(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="not a readable zip or tar"):
        Archive(path)


def test_an_absent_archive_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="dvc repro download"):
        Archive(tmp_path / "x.zip")


def test_a_zip_cut_short(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {f"{i}.off": bytes(1000) for i in range(50)}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ArchiveError):
        Archive(path)


def test_digests_follow_content(tmp_path: Path) -> None:
    first = Archive(make_zip(tmp_path / "1.zip", {"a": b"x", "b": b"y"}))
    second = Archive(make_zip(tmp_path / "2.zip", {"a": b"x", "b": b"z"}))
    assert first.digest("a") == second.digest("a") and first.digest("b") != second.digest("b")
