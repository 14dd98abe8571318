"""ModelNet10 and ModelNet40: an archive of OFF files, z up, `<class>/{train,test}/<class>_NNNN.off` below any folders.

Princeton's zips have one folder above the classes; in the aligned version's tar annotations lie beside the meshes.
"""

from c2p.data import meshfolder
from c2p.data.models import Model
from c2p.data.places import Place
from c2p.data.vocabulary import MODELNET10, MODELNET40


def list_models(path: Place, *, name: str, complete: bool) -> tuple[list[Model], tuple[str, ...]]:
    """Models and official class names of ModelNet10 or ModelNet40 (`name`).

    complete: every official class has to be there; made sets may hold a part of them.
    Raises ValueError: as meshfolder.list_models, and for a missing class.
    """
    official = {"modelnet10": MODELNET10, "modelnet40": MODELNET40}[name]
    spoken = tuple(c.replace("_", " ") for c in official)
    models, present = meshfolder.list_models(path, up="z", classes=spoken)
    models = [m for m in models if "annot" not in m.member.rsplit("/", 1)[-1]]
    missing = [c for c in spoken if c not in present]
    if complete and missing:
        raise ValueError(
            f"{path}: class {missing[0]!r} is missing; {name} has {len(official)} classes: fetch the archive again"
        )
    return models, tuple(c for c, s in zip(official, spoken, strict=True) if s in present)
