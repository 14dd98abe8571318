"""Files of the Hugging Face hub: where they are, what they must be, and in one line why they can't be had.

The hub's own client finds the file, with the user's token; the bytes then come by c2p.data.transfer, because the client
starts a file of gigabytes from nothing when it was killed.
"""

import os
import re
import time

from c2p.data import transfer
from c2p.data.catalogue import RemoteFile
from c2p.data.transfer import Offer, TransferError

_TOKENS = "https://huggingface.co/settings/tokens"


def hub_offer(file: RemoteFile, access: str) -> Offer:
    """The hub's offer of a file: its URL at the present commit, size, SHA-256 where the hub tells it, and the token.

    access: what one has to do to get the collection, for the message.
    Raises TransferError: no access, no such file, offline.
    """
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    repository = file.hub.removeprefix("datasets/")
    repo_type = None if repository == file.hub else "dataset"
    name, endpoint, token = file.hub_name or file.name, os.environ.get("HF_ENDPOINT") or None, get_token()

    def url(revision: str | None) -> str:
        return hf_hub_url(repository, name, repo_type=repo_type, revision=revision, endpoint=endpoint)

    pauses = list(transfer.PAUSES_S)
    while True:
        try:
            found = get_hf_file_metadata(url(None), token=token or False)
            break
        except OfflineModeIsEnabled:
            raise TransferError("the hub is switched off by HF_HUB_OFFLINE: unset it") from None
        except HfHubHTTPError as error:
            if _status(error) not in transfer.LATER or not pauses:
                raise TransferError(_refusal(error, file, access, signed_in=bool(token))) from None
        except Exception as error:  # the client's transport has kinds of its own, and other ones in each version
            if len(pauses) < len(transfer.PAUSES_S):
                raise TransferError(f"the hub is out of reach ({_line(error)}): check the connection") from None
        time.sleep(pauses.pop(0))
    digest = found.etag if found.etag and re.fullmatch("[0-9a-f]{64}", found.etag) else ""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Offer(url(found.commit_hash), found.size or 0, digest, headers)


def _refusal(error: Exception, file: RemoteFile, access: str, *, signed_in: bool) -> str:
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

    status = _status(error)
    repository = file.hub.removeprefix("datasets/")
    if isinstance(error, EntryNotFoundError):
        return f"the hub's {repository} has no file {file.hub_name or file.name}"
    if isinstance(error, GatedRepoError) and not signed_in:
        return f"the hub's {repository} is gated and no token is set: {access}, or run `hf auth login`"
    if isinstance(error, GatedRepoError):
        return f"the hub's {repository} is not open to your token yet: {access}"
    if isinstance(error, RepositoryNotFoundError):
        return f"the hub has no {repository}, or hides it from you: look at https://huggingface.co/{file.hub}"
    if status == 401:
        return f"the hub does not know your token (HF_TOKEN, or that of `hf auth login`): make one at {_TOKENS}"
    if status == 403:
        return f"your token may not read {repository}: allow it `Read access to public gated repos` at {_TOKENS}"
    return f"the hub answers {status or _line(error)}"


def _status(error: Exception) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:120]
