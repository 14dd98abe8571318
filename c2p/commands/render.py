"""`c2p render`: the views and depth maps that the pipeline would make of a mesh, as one picture."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from c2p.params import Params

POINTCLIP = "pointclip"
"""Name of PointCLIP's projection, which belongs to no profile."""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("render", help="draw a mesh's RGB views and depth maps", description=__doc__)
    parser.add_argument("mesh", help="file, or ARCHIVE.zip:MEMBER")
    parser.add_argument("--up", choices=("y", "z"), default="y", help="up axis of the file (y)")
    parser.add_argument("--size", type=int, default=224, help="pixels (224)")
    parser.add_argument("--renderer", choices=("auto", "raster", "embree", "pytorch3d", "warp"), default="auto")
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="camera, light and depth settings (params.yaml)"
    )
    parser.add_argument(
        "--depth",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"depth maps of these profiles, or {POINTCLIP}, below each other; default: those of --params",
    )
    parser.add_argument("--out", type=Path, default=Path("views.png"), help="picture to write (views.png)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Write the picture: RGB views above, depth maps of the farthest points below."""
    from dataclasses import replace

    from c2p.data.clouds import centre_on_cloud, farthest_cloud
    from c2p.data.models import read_mesh_at
    from c2p.data.sheets import contact_sheet
    from c2p.geometry.meshes import normalise, rotate_up
    from c2p.geometry.points import sample_surface
    from c2p.geometry.views import view_set
    from c2p.params import load
    from c2p.rendering import render_views

    params = load(options.params)
    settings = replace(params.render, size=options.size, renderer=options.renderer)
    mesh = read_mesh_at(options.mesh, max_faces=settings.max_faces)
    mesh = replace(mesh, vertices=normalise(rotate_up(mesh.vertices, options.up))[0])
    views = view_set(settings.views)
    rotations = views.rotations
    cloud = sample_surface(mesh, settings.cloud_points, settings.seed)
    if settings.centre == "surface":
        mesh, cloud, _, _ = centre_on_cloud(mesh, cloud)
    rgb = render_views(mesh, rotations, settings).rgb
    points = farthest_cloud(cloud, params.sample.points)
    rows = [("RGB", rgb)]
    for name in options.depth or [""]:
        rows.append((name or "depth", _depth_row(name, params, points, rotations, options.size)))
    contact_sheet(rows, [name.replace(" ", "\n", 1) for name in views.names]).save(options.out)
    print(f"{options.out}: {len(rgb)} views of {len(mesh.faces)} faces")


def _depth_row(name: str, params: "Params", points: "np.ndarray", rotations: "np.ndarray", size: int) -> "np.ndarray":
    """Depth maps (V, size, size) uint8 as the parameters, a profile or PointCLIP draw them."""
    import dataclasses

    import torch
    import yaml

    from c2p.evaluation.drawings import POINTCLIP_ZEROSHOT_DISTANCE, Clip2PointDrawing, PointclipDrawing
    from c2p.params import build
    from c2p.profiles import text_of

    cloud, turns = torch.from_numpy(points)[None], torch.as_tensor(rotations, dtype=torch.float32)
    if name == POINTCLIP:
        maps = PointclipDrawing(params.pointclip.size, POINTCLIP_ZEROSHOT_DISTANCE).draw(cloud, turns, (size, size))
        maps = maps / maps.amax()  # its values are depths of up to 2.6
    else:
        depth = build(yaml.safe_load(text_of(Path.cwd(), name))).depth if name else params.depth
        maps = Clip2PointDrawing(dataclasses.replace(depth, size=size)).draw(cloud, turns, (size, size))
    grey: np.ndarray = (maps[0, :, 0] * 255).round().to(torch.uint8).numpy()
    return grey
