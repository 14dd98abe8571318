"""The exact code, parameters and data of a run, as Markdown for the user interface."""

import hashlib
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tasks.quick_yaml import parse

COMMITS = {
    "github.com": "/commit/",
    "gitlab.com": "/-/commit/",
    "bitbucket.org": "/commits/",
    "codeberg.org": "/commit/",
}
"""Where hosts of git repositories show a commit."""
FIELDS = {"1": 8, "2": 9, "u": 10, "?": 1}
"""Fields before the path in a line of `git status --porcelain=v2`: changed, renamed, in conflict, unknown to git."""
SHOWN = 10
"""Changed files that are named."""


def origin_markdown(root: Path) -> str:
    """Git's commit and what differs from it, digests of dvc.lock and params.yaml, and of every output."""
    lock = root / "dvc.lock"
    stages = parse(lock.read_bytes()).get("stages", {}) if lock.is_file() else {}
    params = (root / "params.yaml").read_text(encoding="utf-8") if (root / "params.yaml").is_file() else ""
    rows = [
        f"| {name} | {out['path']} | `{out.get('md5', 'not recorded')}` | {_bytes(out.get('size'))} |"
        for name, stage in stages.items()
        for out in stage.get("outs", [])
    ]
    files = [f"- {path.name}: SHA-256 {_digest(path)}" for path in (lock, root / "params.yaml")]
    return "\n".join(
        [
            "# Provenance",
            *_revision(root),
            *files,
            "",
            "With a dvc.lock of that digest, `dvc checkout` (in another clone `dvc pull`) brings these outputs back.",
            "## Outputs",
            "| stage | output | MD5, as DVC keeps it | size |\n| --- | --- | --- | ---: |",
            *rows,
            "## Parameters",
            f"```yaml\n{params.rstrip()}\n```\n",
        ]
    )


def commit_url(remote: str, commit: str) -> str | None:
    """Where a remote's host shows a commit; None: a host that we don't know. Passwords in the remote stay out."""
    short = re.fullmatch(r"(?:[^@/]+@)?([^:/]+):(?!//)(.+)", remote)  # git@host:owner/name.git
    host, path = short.groups() if short else (urlsplit(remote).hostname or "", urlsplit(remote).path)
    place = COMMITS.get(host.lower())
    return f"https://{host.lower()}/{path.strip('/').removesuffix('.git')}{place}{commit}" if place else None


def _revision(root: Path) -> list[str]:
    """Lines on the commit and the working tree."""
    status = _git(root, "status", "--porcelain=v2", "--branch")
    if status is None:
        return ["- git commit: none, this is no git repository"]
    about = dict(line[2:].split(" ", 1) for line in status.splitlines() if line.startswith("# "))
    commit = about.get("branch.oid", "")
    lines = [line for line in status.splitlines() if line[0] in FIELDS]
    changed = [line.split(" ", FIELDS[line[0]])[-1].partition("\t")[0] for line in lines]
    url = commit_url(_git(root, "remote", "get-url", "origin") or "", commit)
    pushed = about.get("branch.ab", "").startswith("+0 ")
    shown = f"[`{commit}`]({url})" if url and pushed else f"`{commit}`"
    names = ", ".join(f"`{path}`" for path in changed[:SHOWN]) + (" …" if len(changed) > SHOWN else "")
    return [
        f"- git commit: {shown}{'' if pushed or not url else ' (not pushed)'} on {about.get('branch.head', '')}",
        f"- working tree: {f'{len(changed)} files differ from it: {names}' if changed else 'as committed'}",
    ]


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _digest(path: Path) -> str:
    return f"`{hashlib.sha256(path.read_bytes()).hexdigest()}`" if path.is_file() else "no such file"


def _bytes(size: Any) -> str:
    if size is None:
        return ""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size:,} B"
