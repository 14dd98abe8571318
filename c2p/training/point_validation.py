"""Zero-shot accuracy of a 3D encoder on the validation split.

Letters: N objects, P points a cloud, C feature width, K class.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from c2p.training.distributed import ALONE, Ranks
from c2p.training.gradients import autocast
from c2p.training.history import ACCURACY
from c2p.training.select import CLASS_MEAN, accuracies

CLOUDS_PER_BATCH = 64


@torch.no_grad()
def validate_points(
    encoder: nn.Module,
    *,
    points: Tensor,
    labels: Tensor,
    text: Tensor,
    precision: str = "float32",
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """The class whose prompt is nearest to each cloud's feature, by cosine.

    points: (N, P, 3) float32, unit sphere, y up: the same at every call. labels: (N,) int64. text: (K, C),
    L2-normalised. Each rank classifies its share.
    Returns {ACCURACY: percent, CLASS_MEAN: percent over the classes that occur}.
    """
    device = next(encoder.parameters()).device
    text = text.to(device)
    counts = torch.zeros(2, len(text), dtype=torch.int64, device=device)  # objects of each class; the right ones
    parts = list(zip(points.split(CLOUDS_PER_BATCH), labels.split(CLOUDS_PER_BATCH), strict=True))
    for part, wanted in parts[ranks.rank :: ranks.size]:
        with autocast(device, precision):
            features = functional.normalize(encoder(part.to(device)), dim=-1)
        wanted = wanted.to(device)
        counts[0].index_add_(0, wanted, torch.ones_like(wanted))
        counts[1].index_add_(0, wanted, ((features.float() @ text.T).argmax(1) == wanted).long())
    ranks.sum_([counts])
    return dict(zip((ACCURACY, CLASS_MEAN), accuracies(counts), strict=True))
