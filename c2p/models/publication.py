"""Putting an encoder's folder on the Hugging Face hub, in one commit by the hub's own client."""

import os
from collections.abc import Sequence
from pathlib import Path

from c2p.models.folder import CONFIG_FILE, folder_weights, one_line, read_config
from c2p.models.hub import TOKENS, hub_refusal
from c2p.models.weights import read_weights

CARD_FILE = "README.md"


class PublicationError(ValueError):
    """A folder that can't be published, or a hub that refuses it; the message is one line."""


def files_to_push(folder: Path) -> list[Path]:
    """What of an encoder's folder belongs on the hub, sorted: its own files, not those of other seeds below it.

    Raises PublicationError or ModelError: configuration, weights or card are missing or can't be read.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise PublicationError(f"{folder}: no {CONFIG_FILE} there; make the encoder with `dvc repro select`")
    read_config(folder)
    read_weights(folder_weights(folder))
    check_card(folder / CARD_FILE)
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def check_card(path: Path) -> str:
    """The title of a model card whose metadata the hub will understand.

    Raises PublicationError: there is no card, or its metadata lack what the hub shows.
    """
    from huggingface_hub import ModelCard

    if not path.is_file():
        raise PublicationError(f"{path}: no model card there; make the encoder again: dvc repro -f select")
    try:
        card = ModelCard(path.read_text(encoding="utf-8"))
        told = card.data.to_dict()
    except Exception as error:  # YAML's and the reader's own kinds
        raise PublicationError(f"{path}: its metadata can't be read ({one_line(error)})") from None
    for name in ("license", "library_name", "pipeline_tag"):
        if not isinstance(told.get(name), str):
            raise PublicationError(f"{path}: its metadata lack {name}; add it between the two lines of dashes")
    if told["license"] == "other" and not told.get("license_name"):
        raise PublicationError(f"{path}: its metadata lack license_name, which the licence `other` needs")
    titles = [line.removeprefix("# ") for line in card.text.splitlines() if line.startswith("# ")]
    return titles[0] if titles else path.parent.name


def push(files: Sequence[Path], repository: str, *, private: bool, update: bool, message: str) -> str:
    """Make a repository `OWNER/NAME` and put files into it in one commit; returns the commit's address.

    update: add a commit to a repository that is there, instead.
    Raises PublicationError: no token, no such right, the repository is there already or (update) not, or the hub is out
    of reach. What was there stays as it was.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    if not get_token():
        raise PublicationError(f"no token: set HF_TOKEN or run `hf auth login`; make one with write access at {TOKENS}")
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    if not update:
        try:
            api.create_repo(repository, private=private)
        except Exception as error:
            raise PublicationError(_refusal(error, repository, created=False)) from None
    operations = [CommitOperationAdd(path.name, path) for path in files]
    try:
        return str(api.create_commit(repository, operations, commit_message=message).commit_url)
    except Exception as error:
        raise PublicationError(_refusal(error, repository, created=not update)) from None


def _refusal(error: Exception, repository: str, *, created: bool) -> str:
    status = int(getattr(getattr(error, "response", None), "status_code", 0) or 0)
    if status == 409:
        return f"{repository}: there is such a repository already; add a commit with --update, or take another name"
    goes_on = "; it was made, and is empty: go on with --update" if created else ""
    return f"{repository}: {hub_refusal(error)}{goes_on}"
