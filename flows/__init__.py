"""Prefect flows: wiring only.

Importing this package keeps what Prefect writes inside the project, unless PREFECT_HOME says otherwise.
"""

import os
from pathlib import Path

if (Path.cwd() / "dvc.yaml").is_file():
    os.environ.setdefault("PREFECT_HOME", str(Path.cwd() / ".c2p/prefect"))
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
