"""`c2p render`: the views and depth maps that the pipeline would make of a mesh, as one picture."""

import argparse
from pathlib import Path
from typing import Any


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
    parser.add_argument("--out", type=Path, default=Path("views.png"), help="picture to write (views.png)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Write the picture: RGB views above, depth maps of the farthest points below."""
    from dataclasses import replace

    import numpy as np
    import torch
    from PIL import Image

    from c2p.data.clouds import farthest_cloud
    from c2p.data.models import read_mesh_at
    from c2p.geometry.depth import depth_images, depth_maps
    from c2p.geometry.meshes import normalise, rotate_up
    from c2p.geometry.points import sample_surface
    from c2p.geometry.views import view_set
    from c2p.params import load
    from c2p.rendering import render_views

    params = load(options.params)
    settings = replace(params.render, size=options.size, renderer=options.renderer)
    depth = replace(params.depth, size=options.size)
    mesh = read_mesh_at(options.mesh, max_faces=settings.max_faces)
    mesh = replace(mesh, vertices=normalise(rotate_up(mesh.vertices, options.up))[0])
    rotations = view_set(settings.views).rotations
    rgb = render_views(mesh, rotations, settings).rgb
    points = farthest_cloud(sample_surface(mesh, settings.cloud_points, settings.seed), params.sample.points)
    raw = depth_maps(torch.from_numpy(points)[None], torch.as_tensor(rotations, dtype=torch.float32), depth)
    grey = (depth_images(raw)[0, :, 0] * 255).round().to(torch.uint8).numpy()
    rows = [np.concatenate(list(part), axis=1) for part in (rgb, np.repeat(grey[..., None], 3, axis=-1))]
    Image.fromarray(np.concatenate(rows)).save(options.out)
    print(f"{options.out}: {len(rgb)} views of {len(mesh.faces)} faces")
