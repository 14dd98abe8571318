"""Folders of the Hugging Face hub in open_clip's layout, and in one line why they can't be had."""

import os
from collections.abc import Sequence
from pathlib import Path

from c2p.models.folder import CONFIG_FILE, WEIGHTS_FILES, ModelError, one_line

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "spiece.model",
)
TOKENS = "https://huggingface.co/settings/tokens"


def fetch_folder(repository: str, *, beside: Sequence[str] = ()) -> Path:
    """Bring configuration, weights and tokenizer of a hub repository, `OWNER/NAME`; returns their folder in its cache.

    beside: names of further files that are wanted where they are there.
    Raises ModelError: no such repository, no access, out of reach, or nothing of open_clip's in it.
    """
    from huggingface_hub import HfApi, snapshot_download

    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        names = HfApi(endpoint=endpoint).list_repo_files(repository)
        weights = [name for name in WEIGHTS_FILES if name in names][:1]
        if CONFIG_FILE not in names or not weights:
            raise ModelError(
                f"the hub's {repository}: no {CONFIG_FILE} with weights there; allowed: a repository of open_clip's"
            )
        others = [name for name in (*TOKENIZER_FILES, *beside) if name in names]
        wanted = [CONFIG_FILE, *weights, *others]
        return Path(snapshot_download(repository, allow_patterns=wanted, endpoint=endpoint))
    except ModelError:
        raise
    except Exception as error:  # the client's transport has kinds of its own, and other ones in each version
        raise ModelError(f"the hub's {repository}: {hub_refusal(error)}") from None


def hub_refusal(error: Exception) -> str:
    """Why the hub's client failed and what to do, in one line without any token."""
    from huggingface_hub import errors

    status = int(getattr(getattr(error, "response", None), "status_code", 0) or 0)
    if isinstance(error, errors.HFValidationError):
        return f"{one_line(error)}: give OWNER/NAME"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "the hub is switched off by HF_HUB_OFFLINE: unset it"
    if isinstance(error, errors.GatedRepoError):
        return "gated: accept its terms on its page, then set HF_TOKEN"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such repository, or it is hidden from you: look at its name, or set HF_TOKEN"
    if status == 401:
        return f"your token is not known (HF_TOKEN, or that of `hf auth login`): make one at {TOKENS}"
    if status == 403:
        return f"your token may not do that: give it the right at {TOKENS}, or take a name of your own"
    if status:
        return f"the hub answers {status} ({one_line(error)})"
    if isinstance(error, ValueError) and not isinstance(error, OSError):  # the client's own checks
        return one_line(error)
    return f"the hub is out of reach or broke off ({one_line(error)}): check the connection"
