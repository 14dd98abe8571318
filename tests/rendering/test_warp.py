"""Warp's kernels give raster's bits, on every device; the package is quiet, tidy and fit for worker processes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from hard_meshes import MESHES, ROTATIONS, soup

from c2p.geometry.meshes import Mesh
from c2p.rendering import raster, warp
from c2p.rendering.device import RendererUnavailable, choose_device
from c2p.rendering.gbuffer import GBuffer, rasterize_all
from tasks.shard_map import WorkerPool

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("face_id", "barycentric", "depth")


@pytest.fixture
def wp() -> object:
    return pytest.importorskip("warp", reason="needs the extra warp")


def bits(gbuffer: GBuffer) -> list[bytes]:
    return [getattr(gbuffer, part).tobytes() for part in PARTS]


def compare_with_raster(mesh: Mesh, device: str, size: int = 40) -> None:
    expected = [raster.prepare(mesh).rasterize(rotation, 2.0, 60.0, size) for rotation in ROTATIONS]
    scene = warp.WarpScene(mesh, device)
    found = list(rasterize_all(scene, ROTATIONS, 2.0, 60.0, size))
    assert len(found) == len(ROTATIONS)
    for one, other in zip(expected, found, strict=True):
        for part in PARTS:
            assert getattr(other, part).dtype == getattr(one, part).dtype
        assert bits(one) == bits(other)


@pytest.mark.parametrize("name", MESHES)
def test_bits_equal_raster(wp: object, name: str) -> None:
    compare_with_raster(MESHES[name](), "cpu")


@pytest.mark.parametrize(("fov", "distance", "size"), [(20.0, 6.0, 33), (120.0, 1.01, 48), (179.0, 3.0, 8)])
def test_bits_equal_raster_with_other_cameras(wp: object, fov: float, distance: float, size: int) -> None:
    for rotation in ROTATIONS[[0, 3, 6]]:
        one, other = (b.prepare(soup(4.0)).rasterize(rotation, distance, fov, size) for b in (raster, warp))
        assert bits(one) == bits(other)


@pytest.mark.parametrize("name", ["soup", "cubes", "huge", "around the camera"])
def test_many_views_and_lanes_change_nothing(wp: object, name: str) -> None:
    """What CUDA gets, several views a launch and several threads a face, on the CPU."""
    scene = warp.WarpScene(MESHES[name](), "cpu")
    alone = [scene.rasterize(rotation, 2.0, 60.0, 40) for rotation in ROTATIONS]
    scene._lanes, scene._together = warp.LANES, 4 * 40**2
    together = list(scene.rasterize_all(ROTATIONS, 2.0, 60.0, 40))
    assert [bits(view) for view in together] == [bits(view) for view in alone]


@pytest.mark.gpu
@pytest.mark.parametrize("name", MESHES)
def test_cuda_gives_the_same_bits(wp: object, name: str) -> None:
    if not wp.get_cuda_device_count():  # type: ignore[attr-defined]
        pytest.skip("needs a CUDA device")
    for size in (40, 448):
        compare_with_raster(MESHES[name](), "cuda:0", size)


@pytest.mark.parametrize("arch", [75, 90])
def test_cuda_code_rounds_like_the_cpu(wp: object, arch: int, tmp_path: Path) -> None:
    """Compiled for CUDA without a GPU: no fused, approximate or flushing operation."""
    warp.device()
    from c2p.rendering import warp_kernels

    (path,) = wp.compile_aot_module(warp_kernels, arch=arch, use_ptx=True, module_dir=tmp_path)  # type: ignore[attr-defined]
    code = path.read_text(errors="replace")
    operations = set(re.findall(r"^\s+(?:@%?\w+ )?([a-z]+\.[\w.]*f(?:32|64)[\w.]*)", code, re.MULTILINE))
    assert {"mul.rn.f64", "add.rn.f64", "div.rn.f64"} <= operations  # without .rn the assembler may fuse them
    assert not [name for name in operations if re.search(r"fma|mad|(mul|add|sub)\.f|approx|ftz|full", name)]


def test_the_device_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("C2P_DEVICE", raising=False)
    assert [choose_device(count, finder="it") for count in (0, 2)] == ["cpu", "cuda:0"]
    for text, expected in (("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")):
        monkeypatch.setenv("C2P_DEVICE", text)
        assert choose_device(2, finder="it") == expected
    for text, message in (
        ("gpu", r"^C2P_DEVICE: got 'gpu'; allowed: cpu, cuda, cuda:0, cuda:1, ...$"),
        ("cuda:2", r"^C2P_DEVICE: got 'cuda:2', which it does not find; it finds: cpu, cuda:0, cuda:1$"),
    ):
        monkeypatch.setenv("C2P_DEVICE", text)
        with pytest.raises(RendererUnavailable, match=message):
            choose_device(2, finder="it")


def test_no_cuda_though_asked_for_is_one_line(wp: object, monkeypatch: pytest.MonkeyPatch) -> None:
    warp.device()
    monkeypatch.setenv("C2P_DEVICE", "cuda:99")
    with pytest.raises(RendererUnavailable, match=r"^C2P_DEVICE: got 'cuda:99', which Warp does not find"):
        warp.prepare(soup())


def test_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "warp", None)
    warp._start.cache_clear()
    try:
        with pytest.raises(RendererUnavailable, match=r"^render.renderer: warp cannot be imported .*'c2p\[warp\]'"):
            warp.prepare(soup())
    finally:
        warp._start.cache_clear()


def test_a_full_device_is_one_line(wp: object, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = warp.WarpScene(soup(), "cpu")

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Failed to allocate 7 bytes on device 'cuda:0' (out of memory)")

    monkeypatch.setattr(wp, "full", refuse)
    with pytest.raises(RendererUnavailable, match=r"^render.renderer: cpu has too little free memory .* 40 samples"):
        scene.rasterize(ROTATIONS[0], 2.0, 60.0, 40)


def test_memory_is_given_back(wp: object) -> None:
    mesh, process = soup(), psutil.Process()

    def resident_after(count: int) -> int:
        for _ in range(count):
            for view in rasterize_all(warp.WarpScene(mesh, "cpu"), ROTATIONS[:4], 2.0, 60.0, 256):
                assert view.face_id.shape == (256, 256)
        return process.memory_info().rss

    before = resident_after(5)
    assert resident_after(60) - before < 25e6  # kept, these views would take 60 * 7 MB


def rendered_in_a_worker(name: str) -> list[bytes]:
    return bits(warp.prepare(MESHES[name]()).rasterize(ROTATIONS[5], 2.0, 60.0, 32))


@pytest.mark.slow
def test_worker_processes_share_a_cache_in_the_project(
    wp: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers compile the same kernels at the same time into an empty cache."""
    (tmp_path / ".c2p").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WARP_CACHE_PATH", raising=False)
    names = ["soup", "cubes", "sheet", "flipped"]
    with WorkerPool(2) as pool:
        found = pool.map(rendered_in_a_worker, names)
    assert found == [rendered_in_a_worker(name) for name in names]
    assert [path.name for path in tmp_path.iterdir()] == [".c2p"]
    assert list((tmp_path / ".c2p" / "warp").rglob("*.o"))


@pytest.mark.slow
def test_outside_a_project_nothing_stays_and_nothing_is_said(wp: object, tmp_path: Path) -> None:
    work, home, temporary = (tmp_path / name for name in ("work", "home", "temporary"))
    for folder in (work, home, temporary):
        folder.mkdir()
    script = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from hard_meshes import ROTATIONS, SETTINGS, soup\n"
        "from dataclasses import replace\n"
        "from c2p.rendering import render_views\n"
        "settings = [replace(SETTINGS, renderer=name) for name in ('warp', 'raster')]\n"
        "one, other = (render_views(soup(), ROTATIONS, each) for each in settings)\n"
        "assert one.rgb.tobytes() == other.rgb.tobytes()\n"
        "sys.stderr.write('done')\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("WARP_CACHE_PATH", "C2P_DEVICE", "XDG_CACHE_HOME")}
    run = subprocess.run(
        [sys.executable, "-B", "-c", script, str(ROOT), str(Path(__file__).parent)],
        cwd=work,
        env={**environment, "HOME": str(home), "TMPDIR": str(temporary), "C2P_DEVICE": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "done")
    assert [list(folder.rglob("*")) for folder in (work, home, temporary)] == [[], [], []]
