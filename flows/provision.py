"""`python -m flows.provision`: bring work pools, automations and deployments to the server that PREFECT_API_URL names.

One process does all of it, since to import Prefect takes longer than the rest. Doing it twice changes nothing.
"""

import runpy
import sys

from prefect.client.orchestration import get_client

from flows.automations import apply
from flows.pools import make_pools


def main() -> None:
    """Bring everything; ends as `prefect deploy` does."""
    make_pools()
    try:
        with get_client(sync_client=True) as client:
            apply(client)
    except ValueError as error:
        sys.exit(str(error))
    sys.argv = ["prefect", "--no-prompt", "deploy", "--all"]
    runpy.run_module("prefect", run_name="__main__")


if __name__ == "__main__":
    main()
