"""A real HTTP server on the loopback address whose resources behave, or misbehave, as told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Resource:
    """What a path answers. Lists are used up one entry a request; then the default holds."""

    content: bytes = b""
    etag: str = ""
    modified: str = ""
    status: list[int] = field(default_factory=list)
    """Statuses before 200 or 206."""
    cuts: list[int] = field(default_factory=list)
    """Bytes of the body after which the connection is closed."""
    ranges: bool = True
    heeds_if_range: bool = True
    length: int | None = None
    """Content-Length that is told; -1: none, the body ends with the connection."""
    headers: dict[str, str] = field(default_factory=dict)
    redirect: str = ""
    endless: bool = False
    token: str = ""
    """Bearer token that is asked for."""


class FileServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.resources: dict[str, Resource] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []

    def url(self, path: str, resource: Resource | None = None) -> str:
        """Address of a path, which answers `resource` from now on."""
        if resource:
            self.resources[path] = resource
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"

    def ranges(self) -> list[str]:
        """The Range header of every GET so far; empty: none."""
        return [headers.get("Range", "") for method, _, headers in self.seen if method == "GET"]


class Handler(BaseHTTPRequestHandler):
    server: FileServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = self.path.lstrip("/").split("?")[0]
        self.server.seen.append((self.command, path, dict(self.headers)))
        resource = self.server.resources.get(path)
        self.close_connection = True
        if resource is None:
            self.say(404)
        elif resource.token and self.headers.get("Authorization") != f"Bearer {resource.token}":
            self.say(401)
        elif resource.status and (status := resource.status.pop(0)) != 200:
            self.say(status, resource.headers)
        elif resource.redirect:
            self.say(302, {"Location": resource.redirect} | resource.headers)
        else:
            self.serve(resource)

    def serve(self, resource: Resource) -> None:
        total, start = len(resource.content), 0
        condition = self.headers.get("If-Range", "")
        stale = resource.heeds_if_range and condition not in ("", resource.etag, resource.modified)
        if resource.ranges and (wanted := self.headers.get("Range")) and not stale:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= total:
                self.say(416, {"Content-Range": f"bytes */{total}"})
                return
        body = resource.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        length = len(body) if resource.length is None else resource.length
        for name, value in {
            "Content-Length": str(length) if length >= 0 else "",
            "ETag": resource.etag,
            "Last-Modified": resource.modified,
            "Connection": "close",
            **resource.headers,
        }.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            self.wfile.write(body[: resource.cuts.pop(0)] if resource.cuts else body)
            while resource.endless:
                self.wfile.write(bytes(1 << 16))
        except OSError:
            pass

    def say(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", "Connection": "close", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[FileServer]:
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
