"""A small project of its own: the real machinery, toy stages, a dvc.yaml, in a git repository."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

GROW = '''
"""Makes six parts in the store, each recorded in made.log; a part named in `gate` waits until somebody opens it."""
import os
from dataclasses import dataclass
from pathlib import Path
from tasks.store import Store, key, link_into

PARTS = 6

@dataclass(frozen=True)
class Job:
    root: Path
    number: int
    points: int

def make_part(job):
    def make(path):
        if (job.root / f"poison-{job.number}").exists():
            raise ValueError(f"part {job.number}: got poison; allowed: food")
        gate = job.root / f"gate-{job.number}"
        if gate.exists():
            gate.read_text()
        path.write_text(f"{job.number} {job.points}\\n")
        with (job.root / "made.log").open("a") as log:
            log.write(f"{job.number} {os.getpid()}\\n")
    return Store(job.root).get_or_make(key("grow", job.number, job.points), ".txt", make)

def run(params, root, map_):
    if (root / "fail").exists():
        raise ValueError((root / "fail").read_text()) from KeyError("the cause")
    jobs = [Job(root, number, params.sample.points) for number in range(PARTS)]
    names = [f"part-{number:05d}" for number in range(PARTS)]
    for name, piece in zip(names, map_(make_part, jobs, names=names)):
        link_into(piece, root / "data" / "grown" / f"{name}.txt")
'''

COUNT = '''
"""Sums the parts."""
from c2p.data.files import write_json

def run(params, root, map_):
    texts = [path.read_text() for path in sorted((root / "data" / "grown").glob("*.txt"))]
    total = sum(int(text.split()[1]) for text in texts)
    write_json(root / "metrics" / "count.json", {"total": total, "scale": params.depth.size})
    with (root / "made.log").open("a") as log:
        log.write("count\\n")
'''

VARY = '''
"""One output a seed."""
from c2p.data.files import write_text

def run(params, root, map_, seed):
    write_text(root / "data" / f"vary-{seed}.txt", f"seed {seed}\\n")
    with (root / "made.log").open("a") as log:
        log.write(f"vary {seed}\\n")
'''

GRAPH = """
stages:
  grow:
    cmd: python -m tasks grow
    deps: [tasks/grow.py]
    params: [sample]
    outs: [data/grown]
  count:
    cmd: python -m tasks count
    deps: [tasks/count.py, data/grown]
    params: [depth.size]
    metrics:
      - metrics/count.json: {cache: false}
  vary:
    matrix:
      seed: ${pretrain.seeds}
    cmd: python -m tasks vary seed=${item.seed}
    deps: [tasks/vary.py]
    outs: ["data/vary-${item.seed}.txt"]
  shell:
    cmd: cat data/vary-*.txt | sort -r > data/shell.txt
    deps: [data/vary-0.txt, data/vary-1.txt, data/vary-2.txt]
    outs: [data/shell.txt]
"""

STAGES = ["grow", "count", "vary@0", "vary@1", "vary@2", "shell"]


@dataclass(frozen=True)
class Project:
    """A project in a temporary folder."""

    root: Path

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new, 1))

    @property
    def lock(self) -> bytes:
        return (self.root / "dvc.lock").read_bytes()

    def made(self) -> list[str]:
        """First word of each line of made.log: what bodies have done so far."""
        path = self.root / "made.log"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def environment(self, **extra: str) -> dict[str, str]:
        folder = str(Path(sys.executable).parent)
        return {
            **os.environ,
            "PATH": os.pathsep.join([folder, os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(self.root), str(REPOSITORY)]),
            "C2P_WORKERS": "2",
            **extra,
        }

    def start(self, *command: str, **extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.root,
            env=self.environment(**extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str, code: int = 0, **extra: str) -> str:
        """Run `python -m command` in the project; return what it printed."""
        process = self.start(*command, **extra)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == code, output
        return output


def make_project(root: Path) -> Project:
    project = Project(root)
    machinery = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "flows", root / "flows", ignore=machinery)
    (root / "tasks").mkdir()
    for path in (REPOSITORY / "tasks").glob("*.py"):
        if "\ndef run(" not in path.read_text():
            shutil.copy(path, root / "tasks")
    shutil.copytree(REPOSITORY / ".dvc", root / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache", "config.local"))
    for name in ("params.yaml", ".dvcignore", "pyproject.toml", "prefect.yaml"):
        shutil.copy(REPOSITORY / name, root)
    for name, text in {"grow": GROW, "count": COUNT, "vary": VARY}.items():
        project.write(f"tasks/{name}.py", text)
    project.write("dvc.yaml", GRAPH)
    project.write(".gitignore", "/data/\n/.c2p/\n/made.log\n/gate-*\n/poison-*\n/fail\n__pycache__/\n")
    if not any(point.name == "c2p" for point in entry_points(group="prefect.plugins")):
        project.write("c2p-0.1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: c2p\nVersion: 0.1.0\n")
        project.write("c2p-0.1.0.dist-info/entry_points.txt", "[prefect.plugins]\nc2p = flows.prefect_plugin\n")
    subprocess.run(["git", "init", "-q", root], check=True)
    return project


def git(folder: Path, *arguments: str) -> None:
    """Run git in a folder, in nobody's name."""
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def wait_at_gate(project: Project, seconds: int = 60) -> int:
    """Return once the part behind the pipe gate-3 has begun; the descriptor keeps it waiting until closed."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"part 3 did not begin within {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        return os.open(project.root / "gate-3", os.O_WRONLY)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
