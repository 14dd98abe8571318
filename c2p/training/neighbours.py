"""Hard negatives: batches of samples that look alike, so that a loss has something to tell apart.

After the hard negative mining of OpenShape (Liu et al., arXiv 2305.10764): samples are drawn at random, and each brings
its nearest by features. Here these are the frozen tower's image features, so that no labels are used.
Letters: N samples, V views, C feature width, L nearest.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from c2p.training.distributed import ALONE, Ranks

ROWS = 2048
"""Samples whose similarities to all others are in memory at a time."""
CANDIDATES = 4
"""Nearest that are looked at for each negative that is wanted; some are in other batches already."""


@torch.no_grad()
def nearest(features: Tensor, count: int, ranks: Ranks = ALONE) -> np.ndarray:
    """The `count` nearest other samples of each: by cosine of the mean over views, nearest first.

    features: (N, V, C) float, normalised or not, on any device. ranks: whose first decides, since GPUs of other kinds
    round differently, and all have to draw the same batches. Returns (N, L) int64, L = min(count, N - 1).
    """
    means = torch.cat([functional.normalize(part.float(), dim=-1).mean(1) for part in features.split(ROWS)])
    means = functional.normalize(means, dim=-1)
    count, found = min(count, len(means) - 1), []
    for begin in range(0, len(means), ROWS):
        cosines = means[begin : begin + ROWS] @ means.T
        rows = torch.arange(len(cosines), device=cosines.device)
        cosines[rows, rows + begin] = -torch.inf
        found.append(cosines.topk(count, dim=1).indices)
    samples = torch.cat(found)
    if not ranks.first:
        samples.zero_()
    ranks.sum_([samples])
    return samples.cpu().numpy()


def grouped(order: np.ndarray, candidates: np.ndarray, others: int, generator: np.random.Generator) -> np.ndarray:
    """Reorder samples so that each group of neighbours stands together.

    order: (N,) permutation; candidates: (N, L) of `nearest`. Sample by sample in that order, who has no group yet takes
    its nearest `others` candidates that have none either; groups then follow each other at random, so that what an
    epoch drops at its end is anybody. Returns (N,) int64, a permutation.
    """
    free, groups = np.ones(len(order), bool), []
    for sample in order.tolist():
        if free[sample]:
            free[sample] = False
            near = candidates[sample]
            taken = near[free[near]][:others]
            free[taken] = False
            groups.append(np.concatenate([[sample], taken]))
    return np.concatenate([groups[number] for number in generator.permutation(len(groups))])
