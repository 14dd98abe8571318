"""The work pools of the project's server.

`prefect work-pool create` does the same, but has the server ask GitHub for a list of all kinds of workers.
"""

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.workers.process import ProcessWorker

from flows.server import POOLS


def make_pools() -> None:
    """Make every pool of the project: runs become processes of the worker that takes them."""
    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        for name in POOLS:
            client.create_work_pool(
                WorkPoolCreate(name=name, type=ProcessWorker.type, base_job_template=template), overwrite=True
            )
