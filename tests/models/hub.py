"""A local server that speaks the part of the hub's HTTP that publishing needs: create, preupload, LFS, commit."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from fileserver import FileServer, Handler

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubHandler(Handler):
    server: "Hub"

    def do_POST(self) -> None:
        self.take("POST")

    def do_PUT(self) -> None:
        self.take("PUT")

    def take(self, method: str) -> None:
        hub, body = self.server, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.split("?")[0].strip("/")
        hub.asked.append(f"{method} {path}")
        self.close_connection = True
        if hub.refuse and (refusal := hub.refuse.get(path.split("/")[-1] if "preupload" not in path else "preupload")):
            self.reply({"error": refusal[1]}, refusal[0])
        elif method == "PUT":
            hub.objects[path.split("/")[-1]] = body
            self.reply({})
        elif self.headers.get("Authorization") != f"Bearer {hub.token}":
            self.reply({"error": "Invalid credentials in Authorization header"}, 401)
        elif path == "api/repos/create":
            self.create(json.loads(body))
        elif path == "api/validate-yaml":
            self.validate(json.loads(body)["content"])
        elif path.endswith(".git/info/lfs/objects/batch"):
            self.batch(json.loads(body))
        elif path.startswith("api/models/") and (repository := "/".join(path.split("/")[2:4])) not in hub.repositories:
            self.say(404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": f"{repository} not found"})
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "lfs" if f["size"] > 10_000 else "regular"} for f in files]
            self.reply({"files": [mode | {"shouldIgnore": False} for mode in modes]})
        else:
            self.commit(repository, [json.loads(line) for line in body.splitlines()])

    def validate(self, card: str) -> None:
        """As the hub: metadata are a table, its licence one of the names it knows."""
        told = yaml.safe_load(card.split("---\n")[1])
        known = isinstance(told, dict) and told.get("license") in ("apache-2.0", "mit", "other")
        errors = [] if known else [{"message": '"license" must be one of apache-2.0, mit, ...'}]
        self.reply({"errors": errors, "warnings": []}, 400 if errors else 200)

    def create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        if wanted["organization"] != "me":
            self.reply({"error": "You don't have the rights to create a model under this namespace"}, 403)
        elif name in self.server.repositories:
            self.reply({"error": "You already created this model repo"}, 409)
        else:
            self.server.repositories[name] = {}
            self.server.visibility[name] = wanted.get("visibility", "public")
            self.reply({"url": self.server.url(name)})

    def batch(self, wanted: dict[str, Any]) -> None:
        def answer(item: dict[str, Any]) -> dict[str, Any]:
            known = item["oid"] in self.server.objects
            upload = {"actions": {"upload": {"href": self.server.url(f"storage/{item['oid']}")}}}
            return item if known else item | upload

        self.reply({"transfer": "basic", "objects": [answer(item) for item in wanted["objects"]]})

    def commit(self, repository: str, lines: list[dict[str, Any]]) -> None:
        files = self.server.repositories[repository]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.server.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                assert line["key"] == "lfsFile" and value["algo"] == "sha256"
                content = self.server.objects[value["oid"]]
                assert hashlib.sha256(content).hexdigest() == value["oid"] and len(content) == value["size"]
                files[value["path"]] = content
        url = self.server.url(f"{repository}/commit/{COMMIT}")
        self.reply({"success": True, "commitOid": COMMIT, "commitUrl": url, "pullRequestUrl": None})

    def reply(self, content: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(body), "Content-Type": "application/json"}.items():
            self.send_header(name, str(value))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


class Hub(FileServer):
    """Repositories and what was put into them. refuse: by the path's last part, a status and its words."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.RequestHandlerClass = HubHandler
        self.token = token
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.visibility: dict[str, str] = {}
        self.objects: dict[str, bytes] = {}
        self.messages: list[str] = []
        self.asked: list[str] = []
        self.refuse: dict[str, tuple[int, str]] = {}


@contextmanager
def serving_hub(token: str) -> Iterator[Hub]:
    with Hub(token) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()
