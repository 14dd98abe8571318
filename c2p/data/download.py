"""Fetching the files of the catalogue: placed by hand, from the hub, or over HTTP with resume."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import requests

from c2p.data.catalogue import RemoteFile
from c2p.data.files import sha256

logger = logging.getLogger(__name__)
CHUNK = 1 << 20
TIMEOUT_S = (10, 60)
"""Seconds to connect, and between two pieces of an answer."""


class DownloadError(ValueError):
    """A file that could not be had; the message says where it was looked for and what to do."""


def fetch(file: RemoteFile, downloads: Path) -> Path:
    """Path of a catalogue file below `downloads`, fetched if it is not there yet.

    A file already in its place (put there by hand, or by an earlier run) is checked and taken as it is.
    Raises DownloadError: nobody offers it, access is denied, every mirror failed, or its digest is wrong.
    """
    target = downloads / file.collection / file.name
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.hub:
            _from_hub(file, target)
        elif file.urls:
            _from_mirrors(file, target)
        else:
            raise DownloadError(f"{file.collection}: place {file.name} at {target}; {file.terms}")
    if file.sha256 and (got := sha256(target)) != file.sha256:
        raise DownloadError(f"{target}: sha256 {got}; expected {file.sha256}; delete the file and run again")
    return target


def _from_mirrors(file: RemoteFile, target: Path) -> None:
    failures = []
    for url in file.urls:
        try:
            download(url, target)
            return
        except (requests.RequestException, OSError) as error:
            failures.append(f"{url}: {error}")
            logger.warning("%s failed: %s", url, error)
    raise DownloadError(
        f"{file.name}: no mirror answered ({'; '.join(failures)}); try later or place the file at {target}"
    )


def download(url: str, target: Path, *, progress: Callable[[int, int], None] | None = None) -> Path:
    """Download to `target`, going on with `<name>.part` where an earlier try stopped.

    progress: called with (bytes so far, bytes in all or 0).
    Raises requests.RequestException: network or HTTP error. OSError: disk full, or the answer was cut short.
    """
    part = target.with_name(target.name + ".part")
    done = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable and done:
            part.unlink()
            return download(url, target, progress=progress)
        answer.raise_for_status()
        resumed = answer.status_code == requests.codes.partial_content
        done = done if resumed else 0
        total = done + int(answer.headers.get("Content-Length", 0))
        _check_space(target, total - done)
        with part.open("ab" if resumed else "wb") as out:
            for piece in answer.iter_content(CHUNK):
                out.write(piece)
                done += len(piece)
                if progress:
                    progress(done, total)
            out.flush()
            os.fsync(out.fileno())
    if total and done != total:
        raise OSError(f"answer ended after {done} of {total} bytes")
    os.replace(part, target)
    return target


def _check_space(target: Path, need: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if need > free:
        raise OSError(f"{target.name} needs {need / 1e9:.1f} GB; {free / 1e9:.1f} GB are free: make room and run again")


def _from_hub(file: RemoteFile, target: Path) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        hf_hub_download(file.hub, file.name, repo_type="dataset", local_dir=target.parent)
    except (GatedRepoError, RepositoryNotFoundError) as error:
        raise DownloadError(f"{file.name}: the hub refuses {file.hub} ({type(error).__name__}); {file.terms}") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DownloadError(
            f"{file.name}: not fetched from {file.hub} ({reason}); try later or place it at {target}"
        ) from None
