"""`python -m tasks STAGE [key=value ...]`: run one stage's body in the current folder, on C2P_WORKERS processes.

This is the command of every stage in dvc.yaml; to run a stage with what it needs, use `dvc repro STAGE`.
"""

import sys
from pathlib import Path

from tasks.inputs import check_inputs
from tasks.progress import shown_on_terminal
from tasks.shard_map import WorkerPool
from tasks.stage import configure_logging, parse, report, run_stage


def main(arguments: list[str]) -> int:
    """Run a stage; return the exit code: 0, 2 for what the user gave, 1 for a failure."""
    try:
        configure_logging()
        call = parse(arguments)
        check_inputs(Path.cwd())
        with WorkerPool() as pool, shown_on_terminal():
            run_stage(call, root=Path.cwd(), map_=pool.map)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return report(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
