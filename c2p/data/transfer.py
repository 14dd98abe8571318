"""One file over HTTP: resumed where it stopped, never glued together from two versions, and sceptical of the server.

What has arrived lies in `<name>.part`; `<name>.part.json` says which version of which offer it is the beginning of.
"""

import errno
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from c2p.data.files import telling_no_room, write_json
from c2p.data.kinds import HEAD, KindError, check_head

logger = logging.getLogger(__name__)
PIECE = 1 << 16
"""Bytes written at a time; what a broken connection loses."""
CHUNK = 1 << 20
TIMEOUT_S = (10, 60)
"""Seconds to connect, and between two pieces of an answer."""
PAUSES_S = (1.0, 2.0, 4.0, 8.0)
"""Waits between tries of one offer; a try that gets CHUNK bytes further than all before starts them anew."""
LONGEST_PAUSE_S = 60.0
"""Of a server's Retry-After."""
MAX_TRIES = 1000
MAX_REDIRECTS = 10
MAX_BYTES = 64 << 30
"""Of an answer that doesn't say its length."""
SPARE_BYTES = 256 << 20
"""Left free on the disk."""
LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that can pass."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class TransferError(ValueError):
    """An offer that can't be used; the message is one line without the URL."""


class _Passing(Exception):
    """A failure that may pass: worth another try after `pause` seconds (0: the usual)."""

    def __init__(self, reason: str, pause: float = 0) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True)
class Offer:
    """A place that offers a file."""

    url: str
    size: int = 0
    """Bytes it has to have; 0: unknown."""
    sha256: str = ""
    """Digest it has to have; empty: unknown. Lets a part be continued without a validator, as it is checked later."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent to the URL's own host only: a token."""


@dataclass(frozen=True)
class Part:
    """Which version of a file a part is the beginning of."""

    url: str
    etag: str
    """Strong validator; empty: none."""
    modified: str
    """Last-Modified; empty: none."""
    total: int
    """Bytes of the whole file; 0: unknown."""
    sha256: str


Progress = Callable[[int, int], None]
"""Called with the bytes so far and in all (0: unknown)."""


def part_of(target: Path) -> Path:
    """Where the beginning of a file lies."""
    return target.with_name(target.name + ".part")


def discard(target: Path) -> None:
    """Forget what has arrived of a file."""
    for path in (part_of(target), _note(target)):
        path.unlink(missing_ok=True)


def read_part(target: Path) -> tuple[int, Part] | None:
    """Bytes that have arrived of a file, and what they are the beginning of; None: nothing that can be continued."""
    try:
        size = part_of(target).stat().st_size
        part = Part(**json.loads(_note(target).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return (size, part) if size > 0 and isinstance(part.total, int) else None


def transfer(offer: Offer, target: Path, *, progress: Progress | None = None) -> Path:
    """Bring a file to `<target>.part`, going on where an earlier try stopped; returns that path, not yet checked.

    Raises TransferError: the offer is refused, is not the file it should be, or kept failing. OSError: the disk.
    """
    pauses, furthest = list(PAUSES_S), _size(target)
    for _ in range(MAX_TRIES):
        try:
            return _attempt(offer, target, progress)
        except _Passing as error:
            if (size := _size(target)) >= furthest + CHUNK:
                pauses, furthest = list(PAUSES_S), size
            if not pauses:
                raise TransferError(f"{error}, {len(PAUSES_S) + 1} times") from None
            logger.info("%s: %s; going on", target.name, error)
            time.sleep(max(pauses.pop(0), error.pause))
    raise TransferError(f"broke off {MAX_TRIES} times")


def head(offer: Offer) -> int:
    """Bytes that an offer says it has; 0: it doesn't say, or is out of reach."""
    try:
        with requests.Session() as session, _open(session, offer, {}, method="HEAD") as answer:
            plain = answer.headers.get("Content-Encoding", "identity") == "identity"
            return _length(answer) if answer.ok and plain else 0
    except (TransferError, requests.RequestException):
        return 0


def check_space(folder: Path, need: int, *, what: str) -> None:
    """Raises OSError: a file of `need` bytes more has no room on the folder's disk."""
    free = shutil.disk_usage(folder).free
    if need + SPARE_BYTES > free:
        wanted, left = need / 1e9, free / 1e9
        said = f"{folder}: {what}: {wanted:.2f} GB to come, {left:.2f} GB free: make room and run again"
        raise OSError(errno.ENOSPC, said)


def _attempt(offer: Offer, target: Path, progress: Progress | None) -> Path:
    known = read_part(target)
    resumed = known and _resumable(offer, known[1])
    done = known[0] if known and resumed else 0
    request = {"Accept-Encoding": "identity"}
    if known and done and done == known[1].total:  # complete, but its try was killed before it could say so
        return part_of(target)
    if known and done:
        request |= {"Range": f"bytes={done}-"} | _condition(offer, known[1])
    try:
        with requests.Session() as session, _open(session, offer, request) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable and done:
                discard(target)
                raise _Passing("the part fits no longer")
            _check_status(answer)
            if known and done and answer.status_code == requests.codes.partial_content:
                if not _continues(answer, done, known[1]):
                    discard(target)
                    raise _Passing("the file has changed there")
                total = known[1].total or done + _length(answer)
            else:
                done, total = 0, _begin(offer, target, answer)
            _receive(answer, target, done, total, progress)
    except urllib3.exceptions.ProtocolError:
        raise _Passing(f"broke off after {_size(target)} bytes") from None
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        raise _Passing(_reason(error)) from None
    except requests.RequestException as error:
        raise TransferError(_reason(error)) from None
    return part_of(target)


def _resumable(offer: Offer, part: Part) -> bool:
    if offer.sha256:
        return offer.sha256 == part.sha256
    if part.sha256 or (offer.size and part.total and offer.size != part.total):
        return False
    return bool(part.etag and part.total) or (offer.url == part.url and bool(part.etag or part.modified))


def _condition(offer: Offer, part: Part) -> dict[str, str]:
    """If-Range: the server sends the whole file where it is not the same any more."""
    if part.etag:
        return {"If-Range": part.etag} if offer.url == part.url or not offer.sha256 else {}
    return {"If-Range": part.modified} if part.modified and offer.url == part.url else {}


def _continues(answer: requests.Response, done: int, part: Part) -> bool:
    """Whether a 206 is the rest of the part: right place, same length, same validator."""
    unit, _, rest = answer.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    etag = _etag(answer)
    same = not (etag and part.etag) or etag == part.etag or bool(part.sha256)
    length = total == "*" or not part.total or total == str(part.total)
    plain = answer.headers.get("Content-Encoding", "identity") == "identity"
    return unit == "bytes" and span.startswith(f"{done}-") and length and same and plain


def _begin(offer: Offer, target: Path, answer: requests.Response) -> int:
    """Start a part anew; the bytes the whole file will have (0: unknown)."""
    encoded = answer.headers.get("Content-Encoding", "identity") != "identity"
    total = 0 if encoded else _length(answer)
    if offer.size and total and total != offer.size:
        raise TransferError(f"{total} bytes; expected {offer.size}")
    total = total or offer.size
    discard(target)
    check_space(target.parent, total, what=target.name)
    part_of(target).touch()
    etag = "" if encoded else _etag(answer)
    modified = "" if encoded else answer.headers.get("Last-Modified", "")
    write_json(_note(target), asdict(Part(offer.url, etag, modified, total, offer.sha256)))
    return total


def _receive(answer: requests.Response, target: Path, done: int, total: int, progress: Progress | None) -> None:
    most = total or MAX_BYTES
    # Some servers label an archive that is compressed itself as if compression were theirs: those bytes are the file.
    decode = not target.name.endswith((".gz", ".tgz"))
    with telling_no_room(part_of(target)), part_of(target).open("ab") as out:
        for piece in answer.raw.stream(PIECE, decode_content=decode):
            if done == 0:
                try:
                    check_head(target.name, piece[:HEAD])
                except KindError as error:
                    raise TransferError(f"got {error}") from None
            done += len(piece)
            if done > most:
                discard(target)
                raise TransferError(f"sends more than the {most} bytes expected")
            if not total:
                check_space(target.parent, len(piece), what=target.name)
            out.write(piece)
            if progress:
                progress(done, total)
        out.flush()
        os.fsync(out.fileno())
    if total and done < total:
        raise _Passing(f"broke off after {done} bytes")


def _open(
    session: requests.Session, offer: Offer, headers: Mapping[str, str], *, method: str = "GET"
) -> requests.Response:
    """Follow redirects by hand: never from https to http, and the offer's headers stay with its own host."""
    url = offer.url
    for _ in range(MAX_REDIRECTS):
        own = offer.headers if urlsplit(url).netloc == urlsplit(offer.url).netloc else {}
        answer = session.request(
            method, url, headers={**headers, **own}, stream=True, timeout=TIMEOUT_S, allow_redirects=False
        )
        place = answer.headers.get("Location")
        if answer.status_code not in _REDIRECTS or not place:
            return answer
        answer.close()
        scheme, url = urlsplit(url).scheme, urljoin(url, place)
        if urlsplit(url).scheme not in ("https", scheme):
            raise TransferError(f"redirects from {scheme} to {url.split('?')[0]}: not followed")
    raise TransferError(f"redirects more than {MAX_REDIRECTS} times")


def _check_status(answer: requests.Response) -> None:
    status = f"{answer.status_code} {answer.reason or ''}".strip()
    if answer.status_code in LATER:
        pause = answer.headers.get("Retry-After", "")
        raise _Passing(f"answers {status}", min(float(pause), LONGEST_PAUSE_S) if pause.isdecimal() else 0)
    asked = "Range" in answer.request.headers
    if answer.status_code != requests.codes.ok and not (asked and answer.status_code == requests.codes.partial_content):
        raise TransferError(f"answers {status}")


def _length(answer: requests.Response) -> int:
    text = answer.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else 0


def _etag(answer: requests.Response) -> str:
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else ""


def _note(target: Path) -> Path:
    return target.with_name(target.name + ".part.json")


def _size(target: Path) -> int:
    try:
        return part_of(target).stat().st_size
    except FileNotFoundError:
        return 0


def _reason(error: Exception) -> str:
    """The innermost cause that requests and urllib3 wrap, as a short line."""
    while isinstance(inner := getattr(error, "reason", None) or next(iter(error.args), None), Exception):
        error = inner
    return (" ".join(str(error).split()) or type(error).__name__)[:120]
