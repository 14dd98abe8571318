"""Made shapes and made archives: parametric families written in the layouts of the real collections."""

from c2p.data.toy.families import FAMILIES, TOY_MODELNET10, TOY_MODELNET40, TOY_SCANOBJECTNN, TOY_SHAPENET
from c2p.data.toy.finishes import ToyMaterial
from c2p.data.toy.modelnet_archive import write_modelnet
from c2p.data.toy.scanobjectnn_files import write_scanobjectnn
from c2p.data.toy.shape import ToyShape, make_shape
from c2p.data.toy.shapenet_archive import write_shapenet

__all__ = [
    "FAMILIES",
    "TOY_MODELNET10",
    "TOY_MODELNET40",
    "TOY_SCANOBJECTNN",
    "TOY_SHAPENET",
    "ToyMaterial",
    "ToyShape",
    "make_shape",
    "write_modelnet",
    "write_scanobjectnn",
    "write_shapenet",
]
