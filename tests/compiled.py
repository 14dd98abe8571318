"""Copies of the code take the machine code of its kernels along, instead of compiling for seconds in each process."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock

from c2p.geometry.meshes import load_mesh
from c2p.geometry.points import farthest_points, sample_surface
from c2p.geometry.views import view_set
from c2p.models.point_groups import canonical_order, centres, neighbours
from c2p.params import load
from c2p.rendering import render_views

REPOSITORY = Path(__file__).resolve().parent.parent
TRIANGLE = b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"


def compile_kernels() -> None:
    """Call every kernel as the stages call it: numba keeps what it compiles beside the source."""
    render = load(REPOSITORY / "profiles/demo.yaml").render
    mesh = load_mesh(TRIANGLE, "off", max_faces=9)
    render_views(mesh, view_set("one").rotations, replace(render, size=8))
    cloud = sample_surface(mesh, 9, 0)
    farthest_points(cloud, 3)
    points = canonical_order(torch.as_tensor(cloud, dtype=torch.float32)[None])
    neighbours(points[:, centres(points, 3)[0]], points, 2)


def copy_compiled(root: Path) -> None:
    """Put the kernels' machine code beside a copy of `c2p` below `root` whose files have the times of the originals."""
    with FileLock(Path(tempfile.gettempdir()) / "c2p-tests-kernels.lock"):  # one process compiles, the others read
        compile_kernels()
    for kept in (REPOSITORY / "c2p").rglob("__pycache__/*.nb[ci]"):
        target = root / kept.relative_to(REPOSITORY)
        target.parent.mkdir(exist_ok=True)
        shutil.copy2(kept, target)
