"""Stage download with collections that are fetched: from a local server, placed by hand, again and elsewhere."""

import dataclasses
import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from fileserver import FileServer, Resource, serving

from c2p import params
from c2p.data import transfer
from c2p.data.catalogue import COLLECTIONS, RemoteFile
from c2p.data.download import DownloadError, Downloads
from c2p.data.scanobjectnn import read_split
from c2p.data.sources import list_source, read_source
from c2p.data.vocabulary import MODELNET10
from tasks import download
from tasks.shard_map import WorkerPool, serial

ROOT = Path(__file__).resolve().parents[2]
OFF = b"OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"
CHAIR, BED = "03001627", "02818832"


def packed(members: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content)
    return data.getvalue()


@pytest.fixture
def settings() -> params.Params:
    """Profile paper with the sets that are small enough to be made here."""
    whole = params.load(ROOT / "profiles/paper.yaml")
    return dataclasses.replace(
        whole,
        download=dataclasses.replace(whole.download, benchmarks=("modelnet10", "scanobjectnn")),
        fewshot=dataclasses.replace(whole.fewshot, dataset="modelnet10"),
        fullshot=dataclasses.replace(whole.fullshot, dataset="modelnet10"),
    )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    """Offers a ShapeNet of two synsets and a ModelNet10; ScanObjectNN is placed by hand."""
    monkeypatch.setattr(transfer, "PAUSES_S", (0.0,))
    with serving() as server:
        for synset in (CHAIR, BED):
            models = {f"{synset}/m{n}/models/model_normalized.obj": b"v 0 0 0\n" for n in range(3)}
            server.url(f"{synset}.zip", Resource(packed(models), etag='"1"'))
        server.url("train.txt", Resource("".join(f"{s}-m{n}.npy\n" for s in (CHAIR, BED) for n in (0, 1)).encode()))
        server.url("val.txt", Resource(f"{CHAIR}-m2.npy\n".encode()))
        meshes = {f"ModelNet10/{c}/{s}/{c}_1.off": OFF for c in MODELNET10 for s in ("train", "test")}
        server.url("ModelNet10.zip", Resource(packed(meshes), etag='"1"'))
        for name, files in {
            "shapenet": (f"{BED}.zip", f"{CHAIR}.zip", "train.txt", "val.txt"),
            "modelnet10": ("ModelNet10.zip",),
        }.items():
            offered = tuple(RemoteFile(name, file, (server.url(file),)) for file in files)
            monkeypatch.setitem(COLLECTIONS, name, dataclasses.replace(COLLECTIONS[name], files=offered))
        yield server


def place_scans(root: Path) -> None:
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        file["data"], file["label"] = np.zeros((15, 8, 3), np.float32), np.arange(15)
    names = [file.name for file in COLLECTIONS["scanobjectnn"].files]
    path = Downloads.of(root).path(COLLECTIONS["scanobjectnn"].instead[0])
    path.parent.mkdir(parents=True)
    path.write_bytes(packed({f"h5_files/{name}": data.getvalue() for name in names}))


def test_nothing_is_fetched_before_all_may_be_had(server: FileServer, settings: params.Params, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"fill in the form.*place h5_files\.zip whole at") as error:
        download.run(settings, tmp_path, serial)
    assert "\n" not in str(error.value)
    assert all(method == "HEAD" for method, _, _ in server.seen)


def test_the_stage_brings_archives_as_delivered(server: FileServer, settings: params.Params, tmp_path: Path) -> None:
    place_scans(tmp_path)
    download.run(settings, tmp_path, serial)
    raw = tmp_path / "data/raw"
    found = sorted(str(p.relative_to(raw)) for p in raw.rglob("*") if p.is_file())
    assert found == [
        "modelnet10/ModelNet10.zip",
        "scanobjectnn/h5_files.zip",
        f"shapenet/{BED}.zip",
        f"shapenet/{CHAIR}.zip",
        "shapenet/train.txt",
        "shapenet/val.txt",
        "sources.json",
    ]
    models, classes = list_source(raw, "shapenet")
    assert classes == ("bed", "chair") and [m.split for m in models].count("train") == 4 and len(models) == 5
    assert len(list_source(raw, "modelnet10")[0]) == 20
    for variant in ("scanobjectnn_obj_only", "scanobjectnn_obj_bg", "scanobjectnn_pb_t50_rs"):
        assert len(read_split(raw / read_source(raw, "scanobjectnn").path, variant, "test")[1]) == 15
    lock = json.loads((tmp_path / "catalogue.lock").read_text())
    assert lock["scanobjectnn/h5_files.zip"]["url"] == "placed by hand" and len(lock) == 6
    assert not any(str(tmp_path) in json.dumps(entry) for entry in lock.values())
    assert os.stat(raw / "shapenet/train.txt").st_nlink > 1, "one copy on the disk"

    before = {p: p.read_bytes() for p in raw.rglob("*") if p.is_file()}
    server.seen.clear()
    for path in before:
        path.unlink()
    download.run(settings, tmp_path, serial)
    assert {p: p.read_bytes() for p in raw.rglob("*") if p.is_file()} == before and server.seen == []


def test_workers_bring_the_same(server: FileServer, settings: params.Params, tmp_path: Path) -> None:
    """And what a broken run has brought is not fetched again."""
    written = []
    for name in ("one", "two"):
        root = tmp_path / name
        place_scans(root)
        if name == "one":
            server.resources["ModelNet10.zip"].status = [200, 404]  # the first is the HEAD
            with pytest.raises(DownloadError, match="404"):
                download.run(settings, root, serial)
            server.seen.clear()
            download.run(settings, root, serial)
            assert [path for method, path, _ in server.seen if method == "GET"] == ["ModelNet10.zip"]
        else:
            with WorkerPool(2) as pool:
                download.run(settings, root, pool.map)
        written.append({p.name: p.read_bytes() for p in (root / "data/raw").rglob("*") if p.is_file()})
        written[-1]["lock"] = (root / "catalogue.lock").read_bytes()
    assert written[0] == written[1]


def test_another_projects_lock_holds(server: FileServer, settings: params.Params, tmp_path: Path) -> None:
    """Committed by one, it tells the other that the server has another file now."""
    place_scans(tmp_path / "one")
    download.run(settings, tmp_path / "one", serial)
    place_scans(tmp_path / "two")
    (tmp_path / "two/catalogue.lock").write_bytes((tmp_path / "one/catalogue.lock").read_bytes())
    server.resources[f"{BED}.zip"].content = packed({f"{BED}/other/models/model_normalized.obj": b"v 0 0 0\n"})
    with pytest.raises(DownloadError, match=rf"shapenet/{BED}\.zip: .*catalogue\.lock says .*remove shapenet/{BED}"):
        download.run(settings, tmp_path / "two", serial)
