"""`python -m benchmarks.using [COLLECTION]`: how long a person waits for `c2p classify` and `c2p retrieve`.

Every figure is the wall time of a process of its own, started from nothing, so it holds the imports; beside them stand
those of the libraries alone. COLLECTION: a folder, zip or tar of meshes (the made ModelNet40). The encoder is that of
models/depth_encoder. Writes benchmarks/results/using.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from c2p.data.files import write_json
from c2p.data.shapes import shape_files

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "benchmarks/results/using.json"
ENCODER = ROOT / "models/depth_encoder"
LABELS = "chair,table,lamp"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("collection", nargs="?", default=str(ROOT / "data/raw/modelnet40/ModelNet40.zip"))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    place = Path(options.collection).resolve()
    files = shape_files(place)
    figures = {"collection": place.name, "files": len(files), **measure(place, files, options.rounds)}
    print(json.dumps(figures, indent=2))
    write_json(OUT, figures | {"machine": machine()})


def measure(place: Path, files: list[str], rounds: int) -> dict[str, Any]:
    """Seconds of every command; medians of the rounds but for the first retrieval, which happens once."""
    some = files[:: max(1, len(files) // 20)][:20]
    with tempfile.TemporaryDirectory(prefix="c2p-bench-") as folder:
        retrieve = ["retrieve", "a chair", "--in", str(place), "--index", f"{folder}/index"]
        first = run(command(*retrieve))
        return {
            "import_torch_s": repeated(rounds, "-c", "import torch"),
            "import_open_clip_s": repeated(rounds, "-c", "import open_clip"),
            "classify_slip_s": repeated(
                rounds, *command("classify", f"{folder}/absent.off", "--labels", LABELS), code=2
            ),
            "classify_1_s": repeated(rounds, *command("classify", some[0], "--labels", LABELS)),
            f"classify_{len(some)}_s": repeated(rounds, *command("classify", *some, "--labels", LABELS)),
            "retrieve_first_s": round(first, 2),
            "retrieve_again_s": repeated(rounds, *command(*retrieve)),
        }


def command(*arguments: str) -> list[str]:
    """Arguments of Python for a c2p command with the project's encoder."""
    return ["-m", "c2p.cli", *arguments, "--encoder", str(ENCODER)]


def repeated(rounds: int, *arguments: str, code: int = 0) -> float:
    """Median wall time of a Python process."""
    return round(statistics.median(run(list(arguments), code=code) for _ in range(rounds)), 2)


def run(arguments: list[str], *, code: int = 0) -> float:
    """Wall time of a Python process in the project's folder, which has to end with this code."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    spent = time.perf_counter() - start
    if done.returncode != code:
        raise RuntimeError(f"{arguments}: ended with {done.returncode}: {done.stderr.strip()}")
    return spent


if __name__ == "__main__":
    main()
