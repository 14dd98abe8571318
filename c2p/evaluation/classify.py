"""Zero-shot classification of single objects. Letters: N object, P point, V view, K label."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from c2p.data.clouds import farthest_cloud
from c2p.data.models import UpAxis, read_mesh_at
from c2p.evaluation.zeroshot import softmax, zeroshot_logits
from c2p.geometry.depth import depth_images, depth_maps
from c2p.geometry.meshes import normalise, rotate_up
from c2p.geometry.points import sample_surface
from c2p.geometry.views import view_set
from c2p.models.clip import Clip, encode_images
from c2p.models.prompts import class_text, encode_prompts
from c2p.models.templates import templates_of
from c2p.params import Params


def load_cloud(path: str, params: Params, *, up: UpAxis) -> np.ndarray:
    """Farthest points of a mesh (sampled from its surface) or of a .npy cloud (P, 3): (count, 3) float32, y up.

    Raises ValueError: no such file, an unusable mesh, an array of another shape, fewer points than are needed.
    """
    if not path.endswith(".npy"):
        mesh = read_mesh_at(path, max_faces=params.render.max_faces)
        mesh = replace(mesh, vertices=normalise(rotate_up(mesh.vertices, up))[0])
        surface = sample_surface(mesh, params.render.cloud_points, params.render.seed)
        return farthest_cloud(surface, params.sample.points)
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such cloud")
    cloud = np.load(path, allow_pickle=False)
    if cloud.ndim != 2 or cloud.shape[1] != 3 or not np.isfinite(cloud).all():
        raise ValueError(f"{path}: an array of shape {cloud.shape}; allowed: finite numbers of shape (P, 3)")
    return farthest_cloud(rotate_up(cloud, up), params.sample.points)


@torch.no_grad()
def classify_clouds(clouds: Sequence[np.ndarray], labels: Sequence[str], clip: Clip, params: Params) -> np.ndarray:
    """Probabilities of the labels for each cloud: CLIP2Point Eq. 15 under the zero-shot views and templates.

    clouds: N arrays (P, 3) float32, unit sphere, y up; clip: the depth encoder with its text tower. Returns (N, K).
    """
    rotations = torch.as_tensor(view_set(params.zeroshot.views).rotations, dtype=torch.float32)
    text = class_text(encode_prompts(clip, labels, templates_of(params.zeroshot)))
    scale = float(clip.model.logit_scale.exp())
    rows = []
    for cloud in clouds:
        images = depth_images(depth_maps(torch.from_numpy(cloud)[None], rotations, params.depth))[0]
        features = encode_images(clip, images)[None].cpu().numpy()
        rows.append(softmax(scale * zeroshot_logits(features, text))[0])
    return np.stack(rows)
