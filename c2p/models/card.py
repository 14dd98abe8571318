"""The model card that lies beside a depth encoder, in the hub's format."""

import dataclasses

import yaml

from c2p.params import Params

CARD = """---
library_name: open_clip
pipeline_tag: zero-shot-image-classification
tags: [clip, 3d, depth, point-cloud]
license: {licence}
---
# Depth encoder ({profile}, seed {seed})

A CLIP visual tower that reads depth maps of point clouds, trained by image-depth contrast (CLIP2Point, ICCV 2023).
`open_clip.create_model_and_transforms("local-dir:<this folder>")` loads it together with its teacher's text tower.

| what | value |
|---|---|
| teacher | {teacher} |
| pre-training collection | {source} |
| checkpoint | epoch {epoch}, chosen on the validation split of the pre-training collection |
| validation accuracy, zero-shot, all views | {accuracy:.2f} % |

Input: depth maps as `c2p.geometry.depth` draws them with the parameters below, white background, three equal channels.
Limits: it knows the shapes and the words of its teacher and of the collection above, and nothing else.

```yaml
{parameters}```
"""


def model_card(params: Params, *, seed: int, epoch: int, accuracy: float) -> str:
    """Text of the card. accuracy: validation accuracy of the chosen checkpoint, percent."""
    sections = {name: dataclasses.asdict(getattr(params, name)) for name in ("render", "sample", "depth", "pretrain")}
    made = params.download.source == "toy"
    return CARD.format(
        licence="apache-2.0" if made else "other",
        profile=params.profile,
        seed=seed,
        teacher=f"{params.teacher.model} ({params.teacher.pretrained or 'trained in this run'})",
        source={"toy": "shapes made by c2p", "shapenet": "ShapeNetCore.v2", "meshes": "the user's meshes"}[
            params.download.source
        ],
        epoch=epoch,
        accuracy=accuracy,
        parameters=yaml.safe_dump(_plain(sections), sort_keys=False),
    )


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
