"""Adapters over frozen multi-view features: CLIP2Point section 4 (Eq. 16 to 19) and PointCLIP section 3.3.

Letters: B batch, V view, C feature width, K class.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

VIEW_WEIGHT = 0.5
"""Start of the learnable view weights (both published codes)."""
ADAPTED_SHARE = 0.6
"""Share of adapted features beside the residual in PointCLIP's inter-view adapter (its published code)."""


class GlobalFeature(nn.Module):
    """All views of an object to one vector: weighted views, concatenated, one linear layer, ReLU."""

    def __init__(self, views: int, width: int, dropout: float) -> None:
        super().__init__()
        self.view_weights = nn.Parameter(torch.full((views,), VIEW_WEIGHT))
        self.view_norm = nn.BatchNorm1d(width)
        self.concatenated = nn.Linear(views * width, width)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """(B, V, C) float -> (B, C) float."""
        batch, views, width = features.shape
        weighted = (features * self.view_weights[:, None]).reshape(batch * views, width)
        joined = self.dropout(self.view_norm(weighted)).reshape(batch, views * width)
        return self.dropout(torch.relu(self.norm(self.concatenated(joined))))


class GlobalViewAdapter(nn.Module):
    """CLIP2Point's global-view adapter, one path of Eq. 17 and 18: f2(ReLU(f1(concat(views))))."""

    def __init__(self, views: int, width: int, dropout: float) -> None:
        super().__init__()
        self.feature = GlobalFeature(views, width, dropout)
        self.output = nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """Features of all views, not normalised, (B, V, C) float -> (B, C) float; no residual."""
        return self.output(self.feature(features))


class InterViewAdapter(nn.Module):
    """PointCLIP's inter-view adapter: the global feature expanded back to every view, beside a residual."""

    def __init__(self, views: int, width: int, dropout: float) -> None:
        super().__init__()
        self.feature = GlobalFeature(views, width, dropout)
        self.inner = nn.Linear(width, width)
        self.expanded = nn.Linear(width, views * width)

    def forward(self, features: Tensor) -> Tensor:
        """Features of all views (B, V, C) float -> adapted features (B, V, C) float."""
        hidden = torch.relu(self.inner(self.feature(features)))
        adapted = torch.relu(self.expanded(hidden)).reshape(features.shape)
        return ADAPTED_SHARE * adapted + (1 - ADAPTED_SHARE) * features


class DualPath(nn.Module):
    """CLIP2Point's dual-path adapter, Eq. 17-19: the mean of one adapter over each encoder's features."""

    def __init__(self, path_c: nn.Module, path_d: nn.Module) -> None:
        super().__init__()
        self.path_c = path_c
        self.path_d = path_d

    def forward(self, features_c: Tensor, features_d: Tensor) -> Tensor:
        """CLIP's and the depth encoder's features, (B, V, C) each -> what one path gives."""
        return (self.path_c(features_c) + self.path_d(features_d)) / 2


def cosine_logits(features: Tensor, text: Tensor) -> Tensor:
    """Logits of Eq. 16 and 19: cosines between (B, C) features and (K, C) text features, (B, K), without a scale."""
    return functional.normalize(features, dim=-1) @ functional.normalize(text, dim=-1).T
