"""Fetching the files of the catalogue: placed by hand, from the hub, or from mirrors; checked, and taken once.

Any number of processes may ask for the same file: one fetches it, the others wait and take it.
"""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from c2p.data.catalogue import COLLECTIONS, Collection, RemoteFile
from c2p.data.files import sha256
from c2p.data.hub import hub_offer
from c2p.data.kinds import KindError, check_whole, is_compressed_tar
from c2p.data.slots import bar, slot
from c2p.data.transfer import (
    Offer,
    Progress,
    TransferError,
    check_space,
    discard,
    head,
    read_part,
    transfer,
)
from c2p.data.trust import BY_HAND, FILE, Record, read_records, record
from c2p.data.verified import is_verified, mark_verified

logger = logging.getLogger(__name__)


class DownloadError(ValueError):
    """A file that could not be had; the message says where it was looked for and what to do."""


@dataclass(frozen=True)
class Downloads:
    """Where fetched files lie."""

    folder: Path
    lock: Path
    """catalogue.lock."""

    @classmethod
    def of(cls, root: Path) -> "Downloads":
        """Those of a project."""
        return cls(root / ".c2p" / "downloads", root / FILE)

    def path(self, file: RemoteFile) -> Path:
        """Where a file lies once it is there."""
        return self.folder / file.collection / file.name


def wanted(collection: Collection, downloads: Downloads) -> list[tuple[RemoteFile, ...]]:
    """What to fetch for a collection: for each entry, the files of which one is needed, in the order to try them."""
    present = [file for file in collection.instead if downloads.path(file).is_file()]
    if present and not all(downloads.path(file).is_file() for file in collection.files):
        return [(present[0],)]
    if len(collection.files) == 1:
        return [(collection.files[0], *(file for file in collection.instead if file.offered))]
    return [(file,) for file in collection.files]


def check_room(entries: Sequence[tuple[RemoteFile, ...]], downloads: Downloads) -> int:
    """Bytes still to come for all entries together, as far as anybody knows.

    Raises OSError: more than the disk has left. DownloadError: the hub refuses access, or a file has to be placed.
    """
    need = 0
    for choice in entries:
        file = choice[0]
        if any(downloads.path(other).is_file() for other in choice):
            continue
        if not file.offered:
            raise DownloadError(_place(file, downloads))
        arrived = read_part(downloads.path(file))
        need += max(0, _size(choice, downloads) - (arrived[0] if arrived else 0))
    downloads.folder.mkdir(parents=True, exist_ok=True)
    check_space(downloads.folder, need, what=f"{len(entries)} files")
    return need


def fetch_any(choice: tuple[RemoteFile, ...], downloads: Downloads, *, progress: Progress | None = None) -> Path:
    """Path of the first of several files that can be had; one that is there already comes first.

    Raises DownloadError: none of them; the message is that of each. OSError: the disk.
    """
    failures = []
    for file in sorted(choice, key=lambda file: not downloads.path(file).is_file()):
        try:
            return fetch(file, downloads, progress=progress)
        except DownloadError as error:
            failures.append(str(error))
    raise DownloadError("; or ".join(failures))


def fetch(file: RemoteFile, downloads: Downloads, *, progress: Progress | None = None) -> Path:
    """Path of a catalogue file, fetched if it is not there yet.

    A file already in its place (put there by hand, or by an earlier run) is checked and taken as it is. A digest that
    nobody tells is trusted and recorded in catalogue.lock.
    Raises DownloadError: nobody offers it, access is denied, every mirror failed, or its digest is wrong. LockError:
    catalogue.lock is damaged. OSError: the disk.
    """
    target = downloads.path(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        expected = known_digest(file, downloads)
        if target.is_file():
            if not (expected and is_verified(target, expected)):
                _take(file, target, expected, downloads)
            if file.note:
                logger.warning("%s: %s", file.key, file.note)
            if is_compressed_tar(target):
                logger.warning("%s is compressed, so its meshes come slowly; a plain tar or a zip is quick", target)
            return target
        if not file.offered:
            raise DownloadError(_place(file, downloads))
        with slot(downloads.folder) as number, bar(file.key, number, progress) as show:
            _from_offers(file, target, expected, downloads, show)
    return target


@dataclass(frozen=True)
class Verdict:
    """What reading a file through has shown."""

    sound: bool
    text: str


def check(file: RemoteFile, downloads: Downloads) -> Verdict:
    """Read a file that is there and compare its digest; nothing is recorded or removed.

    Raises LockError: catalogue.lock is damaged.
    """
    target, expected = downloads.path(file), known_digest(file, downloads)
    try:
        check_whole(file.name, target)
    except KindError as error:
        return Verdict(False, f"{error}: replace it, or delete it and fetch it again")
    got = sha256(target)
    if expected and got != expected:
        return Verdict(False, _differs(file, "it", got, expected))
    if not expected:
        return Verdict(True, f"sha256 {got[:12]}…, nobody tells the right one: recorded with the next fetch")
    mark_verified(target, got)
    return Verdict(True, f"sha256 {got[:12]}… as {'the catalogue' if file.sha256 else FILE} says")


def known_digest(file: RemoteFile, downloads: Downloads) -> str:
    """SHA-256 a file has to have, by the catalogue or by catalogue.lock; empty: unknown so far."""
    if file.sha256:
        return file.sha256
    known = read_records(downloads.lock).get(file.key)
    return known.sha256 if known else ""


def _take(file: RemoteFile, target: Path, expected: str, downloads: Downloads) -> None:
    """Check a file that is there."""
    try:
        check_whole(file.name, target)
    except KindError as error:
        raise DownloadError(f"{target}: {error}: replace it, or delete it and run again") from None
    logger.info("%s: checking %.1f MB", file.key, target.stat().st_size / 1e6)
    got = sha256(target)
    if expected and got != expected:
        raise DownloadError(_differs(file, str(target), got, expected))
    _trust(file, got, target.stat().st_size, BY_HAND, downloads)
    mark_verified(target, got)


def _from_offers(
    file: RemoteFile, target: Path, expected: str, downloads: Downloads, progress: Progress | None
) -> None:
    failures = []
    for place in ([file.hub] if file.hub else []) + list(file.urls):
        try:
            offer = _offer(file, place, expected)
            _bring(file, offer, target, downloads, progress)
            return
        except TransferError as error:
            failures.append(str(error) if place == file.hub else f"{place} {error}")
            logger.warning("%s: %s: %s", file.key, place, error)
    raise DownloadError(f"{file.key}: {'; '.join(failures)}; or place the file at {target}")


def _offer(file: RemoteFile, place: str, expected: str) -> Offer:
    if place != file.hub:
        return Offer(place, file.size, expected)
    offer = hub_offer(file, COLLECTIONS[file.collection].access if file.collection in COLLECTIONS else "ask for access")
    if expected and offer.sha256 and offer.sha256 != expected:
        raise TransferError(_differs(file, f"the hub's {file.hub}", offer.sha256, expected))
    return Offer(offer.url, file.size or offer.size, expected or offer.sha256, offer.headers)


def _bring(file: RemoteFile, offer: Offer, target: Path, downloads: Downloads, progress: Progress | None) -> None:
    for resumed in (read_part(target) is not None, False):
        began, arrived = time.monotonic(), read_part(target)
        part = transfer(offer, target, progress=progress)
        seconds = max(time.monotonic() - began, 1e-3)
        size = part.stat().st_size
        got = sha256(part)
        if not offer.sha256 or got == offer.sha256:
            break
        discard(target)
        if not resumed:
            raise TransferError(_differs(file, "what it sends", got, offer.sha256))
        logger.warning("%s: continued to a wrong sha256; from the beginning now", file.key)
    try:
        check_whole(file.name, part)
    except KindError as error:
        discard(target)
        raise TransferError(f"sends {error}") from None
    _trust(file, got, size, offer.url, downloads)
    os.replace(part, target)
    discard(target)
    mark_verified(target, got)
    fresh = (size - (arrived[0] if arrived else 0)) / 1e6
    logger.info("%s: %.1f MB at %.1f MB/s from %s", file.key, size / 1e6, fresh / seconds, offer.url)


def _trust(file: RemoteFile, got: str, size: int, url: str, downloads: Downloads) -> None:
    """Record what the catalogue doesn't know, before the file gets its name."""
    if file.sha256:
        return
    if url.startswith("http:"):
        logger.warning("%s: trusted as it came, over a connection without encryption", file.key)
    record(downloads.lock, file.key, Record(got, size, url))


def _differs(file: RemoteFile, what: str, got: str, expected: str) -> str:
    if file.sha256:
        return f"{what} has sha256 {got}, the catalogue says {expected}: delete the file and run again"
    return (
        f"{what} has sha256 {got}, {FILE} says {expected}: delete the file and run again, or, if the new one is right, "
        f"remove {file.key} from {FILE}"
    )


def _place(file: RemoteFile, downloads: Downloads) -> str:
    collection = COLLECTIONS[file.collection]
    whole = [other for other in collection.instead if not other.offered]
    instead = f", or place {whole[0].name} whole at {downloads.path(whole[0])}" if whole else ""
    return f"{file.key}: {collection.access}; then place {file.name} at {downloads.path(file)}{instead}"


def _size(choice: tuple[RemoteFile, ...], downloads: Downloads) -> int:
    """Bytes a file will have, asked for where the catalogue doesn't know; access is refused here, before any fetch."""
    file = choice[0]
    try:
        if file.hub:
            return _offer(file, file.hub, known_digest(file, downloads)).size
    except TransferError as error:
        if len(choice) == 1 and not file.urls:
            raise DownloadError(f"{file.key}: {error}; or place the file at {downloads.path(file)}") from None
    return file.size or next((size for url in file.urls if (size := head(Offer(url)))), 0)


def under_way(downloads: Downloads) -> list[tuple[str, int, int]]:
    """Files that have begun to arrive: key, bytes so far, bytes in all (0: unknown). For whoever shows progress."""
    found = []
    for path in sorted(downloads.folder.rglob("*.part")):
        target = path.with_name(path.name.removesuffix(".part"))
        if state := read_part(target):
            found.append((str(target.relative_to(downloads.folder)), state[0], state[1].total))
    return found
