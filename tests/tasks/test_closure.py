"""The static import closure, against a tree made here and against what Python really imports."""

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.closure import MACHINERY, ROOT, code_digest, import_closure

TREE = {
    "c2p/__init__.py": '"""Docstring."""\n',
    "c2p/params.py": "",
    "c2p/geometry/__init__.py": "from c2p.geometry import views as named_views\n",
    "c2p/geometry/views.py": "NAMES = ()\n",
    "c2p/geometry/points.py": "import numpy\nfrom . import views\n",
    "c2p/models/__init__.py": "WIDTH = 3\n",
    "c2p/models/clip.py": "def load():\n    from c2p.models.losses import loss\n    return loss\n",
    "c2p/models/losses.py": "from ..geometry.points import views\nloss = 1\n",
    "c2p/models/unused.py": "",
    "c2p/evaluation/__init__.py": "",
    "c2p/evaluation/zeroshot.py": "from c2p.models import WIDTH\n",
    "tasks/__init__.py": "",
    "tasks/store.py": "",
    "tasks/train.py": "import c2p.models.clip\nfrom tasks.store import Store\nfrom c2p.params import Params\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def closure(tree: Path, *modules: str) -> list[str]:
    return [path.as_posix() for path in import_closure(*modules, root=tree)]


def test_closure_follows_lazy_and_relative_imports(tree: Path) -> None:
    assert closure(tree, "tasks.train") == [
        "c2p/geometry/__init__.py",
        "c2p/geometry/points.py",
        "c2p/geometry/views.py",
        "c2p/models/clip.py",
        "c2p/models/losses.py",
        "tasks/train.py",
    ]


def test_package_file_counts_where_a_name_is_taken_from_it(tree: Path) -> None:
    assert closure(tree, "c2p.evaluation.zeroshot") == ["c2p/evaluation/zeroshot.py", "c2p/models/__init__.py"]


def test_several_modules_and_an_unknown_one(tree: Path) -> None:
    assert closure(tree, "c2p.models.unused", "c2p.geometry.views") == [
        "c2p/geometry/__init__.py",
        "c2p/geometry/views.py",
        "c2p/models/unused.py",
    ]
    for name in ("c2p.nothing", "numpy"):
        with pytest.raises(ValueError, match=name):
            import_closure(name, root=tree)


def test_digest_changes_with_code_and_not_with_comments(tree: Path) -> None:
    def digest() -> str:
        code_digest.cache_clear()
        return code_digest("tasks.train", root=tree)

    first = digest()
    (tree / "c2p/models/losses.py").write_text("# why\nfrom ..geometry.points import views\n\nloss = (1)\n")
    assert digest() == first
    (tree / "c2p/models/unused.py").write_text("x = 1\n")
    (tree / "tasks/store.py").write_text("x = 1\n")
    assert digest() == first
    (tree / "c2p/models/losses.py").write_text("from ..geometry.points import views\nloss = 2\n")
    assert digest() != first


def test_closure_covers_what_python_imports() -> None:
    module = "c2p.data.benchmarks"
    code = f"import sys, {module}\nfor m in list(sys.modules.values()):\n    print(getattr(m, '__file__', None))"
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    loaded = {Path(line).relative_to(ROOT) for line in output.splitlines() if line.startswith(str(ROOT / "c2p"))}
    loaded = {path for path in loaded if path.name != "__init__.py"}
    assert Path("c2p/data/benchmarks.py") in loaded
    assert loaded - MACHINERY <= set(import_closure(module))
