"""`c2p push`: put the depth encoder on the Hugging Face hub."""

import argparse
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("push", help="put the encoder on the Hugging Face hub", description=__doc__)
    parser.add_argument("repository", metavar="OWNER/NAME", help="repository to make")
    parser.add_argument(
        "--encoder", type=Path, default=Path("models/depth_encoder"), help="folder (models/depth_encoder)"
    )
    parser.add_argument("--private", action="store_true", help="only you will see it")
    parser.add_argument("--update", action="store_true", help="add a commit to a repository that is there")
    parser.add_argument("--dry-run", action="store_true", help="check everything and send nothing")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Check the folder and its card, then send it."""
    from c2p.models.publication import CARD_FILE, PublicationError, check_card, files_to_push, push

    owner, slash, name = options.repository.partition("/")
    if not (owner and slash and name) or "/" in name:
        raise PublicationError(f"repository: got {options.repository!r}; allowed: OWNER/NAME")
    if options.private and options.update:
        raise PublicationError("--private: a repository that is there keeps its visibility; leave --private out")
    files = files_to_push(options.encoder)
    title = check_card(options.encoder / CARD_FILE)
    for path in files:
        print(f"{path.stat().st_size / 1e6:10.2f} MB  {path.name}")
    if options.dry_run:
        from huggingface_hub import get_token

        token = "a token is set" if get_token() else "no token is set (HF_TOKEN, or `hf auth login`)"
        print(f"would go to {options.repository}: {title}; {token}; nothing was sent")
        return
    print(push(files, options.repository, private=options.private, update=options.update, message=title))
