"""Archives that lie: bombs, members that leave, damaged and cut files. What is sound in them gives the same shards."""

import hashlib
import os
import random
import shutil
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import yaml
from hostile_archives import OFF, Entry, deflate, deflated_zeros, special, write_tar, write_zip
from small_factory import REPOSITORY

from c2p.data import shapenet
from c2p.data.archive import Archive, ArchiveError, MemberError
from c2p.data.manifest import read_manifest, verify
from c2p.data.meshpack import take_meshes
from tasks.shard_map import serial
from tasks.stage import Call, exit_code, run_stage

SMALL: dict[str, dict[str, Any]] = {
    "render": {
        "size": 8,
        "supersample": 1,
        "cloud_points": 32,
        "part_size": 3,
        "max_faces": 1000,
        "max_reject_rate": 0.9,
    },
    "sample": {"points": 8},
    "depth": {"size": 8},
    "shards": {"samples_per_shard": 2, "validation_share": 0.3},
}
FOLDER = "cube/train"
GOOD = [
    Entry(f"{label}/{split}/{index}.off", OFF.replace(b"1 0 0", b"%d 0 0" % (index + 1)))
    for label in ("cube", "rod")
    for split, count in (("train", 5), ("test", 1))
    for index in range(count)
]
BOMB = deflated_zeros(10 * 1024)
"""10 GB of zeros in 10 MB."""
BAD = {
    "crc": (Entry(f"{FOLDER}/crc.off", crc=1), "Bad CRC-32"),
    "stored-crc": (Entry(f"{FOLDER}/stored-crc.off", deflated=False, crc=1), "Bad CRC-32"),
    "cut-deflate": (Entry(f"{FOLDER}/cut-deflate.off", stored=deflate(OFF)[:-9]), "can't be read|cut short"),
    "no-deflate": (Entry(f"{FOLDER}/no-deflate.off", stored=b"\xff" * 50), "can't be read"),
    "local-name": (Entry(f"{FOLDER}/local-name.off", local_name="other"), "File name in directory"),
    "encrypted": (Entry(f"{FOLDER}/encrypted.off", flags=1), "encrypted"),
    "small-bomb": (Entry(f"{FOLDER}/small-bomb.off", stored=BOMB, size=100), "can't be read|cut short"),
    "huge-bomb": (Entry(f"{FOLDER}/huge-bomb.off", stored=BOMB, size=(4 << 30) - 2), "allowed: up to"),
    "larger": (Entry(f"{FOLDER}/larger.off", size=10_000), "can't be read|cut short"),
    "smaller": (Entry(f"{FOLDER}/smaller.off", size=10), "can't be read|cut short"),
    "zero": (Entry(f"{FOLDER}/zero.off", b""), "unreadable|no faces"),
}
"""Members that become rows with a reason."""
HIDDEN = [
    Entry("/cube/train/absolute.off"),
    Entry("../cube/train/up.off"),
    Entry("x/../../cube/train/through.off"),
    Entry("..\\cube\\train\\back.off"),
    Entry("C:/cube/train/drive.off"),
    Entry(f"{FOLDER}/link.off", b"/etc/passwd", mode=0o120777),
    Entry(f"{FOLDER}/pipe.off", mode=0o010644),
    Entry("__MACOSX/cube/train/._0.off"),
]
"""Members that are none."""


def make_project(folder: Path, archive: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    params = yaml.safe_load((REPOSITORY / "profiles" / "meshes.yaml").read_text())
    for section, values in (SMALL | {"download": {"meshes": str(archive)}}).items():
        assert set(values) <= set(params[section])
        params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


def run(folder: Path, *stages: str) -> Path:
    for stage in stages or ("download", "render", "sample", "shards"):
        run_stage(Call(stage), root=folder, map_=serial)
    return folder


def shards(folder: Path) -> dict[str, str]:
    """Digest of every finished shard."""
    found = sorted((folder / "data/shards").glob("*.tar"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Shards of the good members alone, from an archive of the same name."""
    folder = tmp_path_factory.mktemp("sound")
    return shards(run(make_project(folder / "p", write_zip(folder / "mine.bin", GOOD))))


def test_bad_members_are_rows_and_the_shards_are_those_of_the_good(tmp_path: Path, sound: dict[str, str]) -> None:
    entries = [*GOOD, *(entry for entry, _ in BAD.values()), *HIDDEN]
    tracemalloc.start()
    folder = run(make_project(tmp_path / "p", write_zip(tmp_path / "mine.bin", entries)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 << 20, "no bomb went off"
    assert len(sound) == 5 and shards(folder) == sound
    manifest = read_manifest(folder / "data/shards")
    assert verify(manifest) == []
    reasons = {row["key"].removeprefix("cube-train-"): row["reason"] for row in manifest.rejected}
    assert set(reasons) == set(BAD)
    for name, (_, expected) in BAD.items():
        assert any(text in reasons[name] for text in expected.split("|")), (name, reasons[name])
        assert reasons[name].isprintable()


def test_a_tar_of_links_pipes_devices_and_odd_names(tmp_path: Path, sound: dict[str, str]) -> None:
    members: list[Any] = [(entry.name, entry.data) for entry in GOOD]
    members += [
        (name, OFF) for name in ("/cube/train/absolute.off", "../cube/train/up.off", "a/../../cube/train/x.off")
    ]
    members += [
        special(f"{FOLDER}/{name}.off", kind, target)
        for name, kind, target in (
            ("soft", tarfile.SYMTYPE, "/etc/passwd"),
            ("hard", tarfile.LNKTYPE, f"{FOLDER}/0.off"),
            ("pipe", tarfile.FIFOTYPE, ""),
            ("block", tarfile.BLKTYPE, ""),
            ("character", tarfile.CHRTYPE, ""),
            ("folder", tarfile.DIRTYPE, ""),
        )
    ]
    folder = run(make_project(tmp_path / "p", write_tar(tmp_path / "mine.bin", members)))
    assert shards(folder) == sound and read_manifest(folder / "data/shards").rejected == []


def test_a_mended_archive_takes_its_members_back(tmp_path: Path, sound: dict[str, str]) -> None:
    """A damaged member has the checksum of the sound one: what was said of it must not be kept."""
    spoilt = [Entry(e.name, e.data, stored=b"\xff" * 30) if e.name == "rod/train/2.off" else e for e in GOOD]
    folder = run(make_project(tmp_path / "p", write_zip(tmp_path / "mine.bin", spoilt)))
    assert [row["key"] for row in read_manifest(folder / "data/shards").rejected] == ["rod-train-2"]
    write_zip(tmp_path / "mine.bin", GOOD)
    assert shards(run(folder)) == sound


def test_names_that_are_no_text(tmp_path: Path) -> None:
    latin = b"cube/train/caf\xe9.off"
    odd = ["cube/train/two\nlines.off", "cube/train/tab\t.off", "cube/train/\u202eleft.off"]
    archive = Archive(write_zip(tmp_path / "x.zip", [Entry(latin), *map(Entry, odd)]))
    assert len(archive.names) == 4 and all(name.isprintable() and name.encode() for name in archive.names)
    tar = write_tar(tmp_path / "x.tar", [(latin.decode("utf-8", "surrogateescape"), OFF), *((n, OFF) for n in odd)])
    archive = Archive(tar)
    assert "cube/train/caf%E9.off" in archive and all(archive.read(name) == OFF for name in archive.names)
    members = [(e.name, e.data) for e in GOOD] + [(latin.decode("utf-8", "surrogateescape"), OFF)]
    folder = run(make_project(tmp_path / "p", write_tar(tmp_path / "mine.bin", members)))
    sources = {row["source"] for row in read_manifest(folder / "data/shards").rows}
    assert "mine.bin:cube/train/caf%E9.off" in sources


def test_of_two_members_with_one_name_the_last_counts(tmp_path: Path) -> None:
    first, last = OFF.replace(b"1 0 0", b"9 0 0"), OFF
    zipped = Archive(write_zip(tmp_path / "x.zip", [Entry("a.off", first), Entry("a.off", last)]))
    tarred = Archive(write_tar(tmp_path / "x.tar", [("a.off", first), ("./a.off", last)]))
    assert zipped.names == tarred.names == ["a.off"] and zipped.read("a.off") == tarred.read("a.off") == last


def test_overlapping_members_are_not_read(tmp_path: Path) -> None:
    entries = [Entry("good.off"), *(Entry("b.off", stored=deflate(OFF)) for _ in range(50))]
    entries[1:] = [Entry(f"b{n}.off", local_name="b0.off") for n in range(50)]
    archive = Archive(write_zip(tmp_path / "x.zip", entries, overlapping=50))
    assert archive.read("good.off") == OFF
    for name in archive.names[:-1]:
        with pytest.raises(MemberError, match=r"overlaps another member|File name in directory"):
            archive.read(name)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_cut_anywhere_is_no_shorter_archive(tmp_path: Path, mode: str) -> None:
    members = [(f"{n}.off", OFF * (1 + n * 9)) for n in range(6)]
    whole = write_tar(tmp_path / "x.tar", members, mode).read_bytes()
    assert len(Archive(tmp_path / "x.tar").names) == 6
    data = sum(-(-len(data) // 512) * 512 + 512 for _, data in members)
    cuts = range(0, data + 1, 256) if mode == "w" else range(0, len(whole), max(1, len(whole) // 40))
    for cut in cuts:
        (tmp_path / "cut.tar").write_bytes(whole[:cut])
        with pytest.raises(ArchiveError, match="not a readable zip or tar") as error:
            Archive(tmp_path / "cut.tar")
        assert str(error.value).isprintable() and "fetch or copy it again" in str(error.value)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_noise_in_an_archive_is_one_line(tmp_path: Path, kind: str) -> None:
    """Bytes changed at random, seeded: nothing but ArchiveError comes of it."""
    entries = [Entry(f"c/train/{n}.off", OFF * (n + 1)) for n in range(4)]
    path = tmp_path / "x.bin"
    if kind == "zip":
        write_zip(path, entries)
    else:
        write_tar(path, [(entry.name, entry.data) for entry in entries])
    whole, rng, errors = path.read_bytes(), random.Random(kind), 0
    for _ in range(400):
        spoilt = bytearray(whole)
        for _ in range(rng.choice((1, 2, 8))):
            spoilt[rng.randrange(len(spoilt))] = rng.choice((0, 255, rng.randrange(256)))
        path.write_bytes(spoilt)
        try:
            archive = Archive(path)
            for name in archive.names:
                archive.digest(name)
                archive.read(name)
        except ArchiveError as error:
            errors += 1
            assert str(error).isprintable()
    assert errors > 50


@pytest.mark.parametrize("ending", ["tar.gz", "tgz", "tar.bz2", "txz", "bin"])
def test_a_compressed_tar_is_taken_over_as_a_plain_one(tmp_path: Path, sound: dict[str, str], ending: str) -> None:
    """Members of a compressed one cost as much as all before them."""
    mode = {"z": "w:gz", "2": "w:bz2"}.get(ending[-1], "w:xz")
    given = write_tar(tmp_path / f"mine.{ending}", [(str(e.name), e.data) for e in reversed(GOOD)], mode)
    taken = take_meshes(given, tmp_path / "raw")
    assert taken.name == ("mine.bin" if ending == "bin" else "mine.tar")
    with tarfile.open(taken, "r:") as plain, tarfile.open(given) as packed:
        assert plain.getnames() == packed.getnames()
    archive, before = Archive(taken), Archive(given)
    assert [archive.read(n) for n in archive.names] == [before.read(n) for n in before.names]
    if ending == "bin":
        assert shards(run(make_project(tmp_path / "p", given))) == sound


def test_a_compressed_tar_larger_than_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = write_tar(tmp_path / "mine.tar.gz", [("a/train/x.off", bytes(1 << 20))], "w:gz")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1 << 19))
    with pytest.raises(OSError, match="make room") as error:
        take_meshes(given, tmp_path / "raw")
    assert exit_code(error.value) == 2 and str(tmp_path / "raw") in str(error.value)
    assert list((tmp_path / "raw").iterdir()) == []


def test_what_is_no_file_does_not_keep_us_waiting(tmp_path: Path) -> None:
    (tmp_path / "folder.zip").mkdir()
    os.mkfifo(tmp_path / "pipe.zip")
    for name in ("folder.zip", "pipe.zip"):
        with pytest.raises(ArchiveError, match="not a file") as error:
            Archive(tmp_path / name)
        assert exit_code(error.value) == 2
    with pytest.raises(ValueError, match="no such folder or archive"):
        take_meshes(tmp_path / "pipe.zip", tmp_path / "out")


def test_a_folder_with_links_pipes_and_names_that_are_no_text(tmp_path: Path, sound: dict[str, str]) -> None:
    given = tmp_path / "mine.bin"
    for entry in GOOD:
        path = given / str(entry.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(entry.data)
    (tmp_path / "secret.off").write_bytes(OFF)
    (given / FOLDER / "link.off").symlink_to(tmp_path / "secret.off")
    (given / FOLDER / "loop").symlink_to(given)
    (given / FOLDER / "gone.off").symlink_to(given / "nothing")
    os.mkfifo(given / FOLDER / "pipe.off")
    folder = run(make_project(tmp_path / "p", given))
    keys = {row["key"] for row in read_manifest(folder / "data/shards").rows}
    assert keys == {f"{label}-train-{n}" for label in ("cube", "rod") for n in range(5)}
    shutil.copy(tmp_path / "secret.off", os.fsencode(given / FOLDER) + b"/caf\xe9.off")
    run(folder)
    keys = {row["key"] for row in read_manifest(folder / "data/shards").rows}
    assert len(keys) == 11 and all(key.isascii() for key in keys)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("cube/train/a.b.off", "cube/train/a_b.off"), "two meshes share the key cube-train-a_b; rename one"),
        (("cube/train/a.off", "cube/train/a.obj"), "two meshes share the key cube-train-a; rename one"),
        (("cube/train/\u00e9.off", "cube/train/\u00e8.off"), "two meshes share the key cube-train-_; rename one"),
        (("x/cube/train/a.off", "y/cube/train/a.off"), "two meshes share the key cube-train-a; rename one"),
    ],
)
def test_keys_that_meet_after_cleaning_are_one_line(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    folder = make_project(tmp_path / "p", write_zip(tmp_path / "mine.zip", [*GOOD, *map(Entry, names)]))
    with pytest.raises(ValueError, match=said) as error:
        run(folder)
    assert exit_code(error.value) == 2 and "\n" not in str(error.value)
    assert all(name in str(error.value) for name in names), "both are named"


def test_a_listed_model_with_a_dot_is_one_line(tmp_path: Path) -> None:
    write_zip(tmp_path / "03001627.zip", [Entry("03001627/a.b/models/model_normalized.obj")])
    (tmp_path / "train.txt").write_text("03001627-a.b\n")
    (tmp_path / "val.txt").write_text("")
    with pytest.raises(ValueError, match=r"model 'a\.b'; allowed in names: letters, digits, - and _"):
        shapenet.list_models(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"render": {"views": "one"}},
        {"render": {"part_size": 1}, "shards": {"samples_per_shard": 1}},
        {"render": {"size": 8}, "depth": {"size": 8}, "sample": {"points": 1}},
        {"render": {"size": 9, "supersample": 3, "cloud_points": 9}, "depth": {"size": 13}, "sample": {"points": 9}},
    ],
    ids=["one view", "pieces of one", "one point", "odd sizes"],
)
def test_smallest_and_odd_settings(tmp_path: Path, changes: dict[str, dict[str, Any]]) -> None:
    folder = make_project(tmp_path / "p", write_zip(tmp_path / "mine.zip", GOOD))
    params = yaml.safe_load((folder / "params.yaml").read_text())
    for section, values in changes.items():
        params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    manifest = read_manifest(run(folder) / "data/shards")
    assert len(manifest.rows) == 10 and manifest.rejected == [] and verify(manifest) == []
