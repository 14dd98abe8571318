"""Deployments by their bare name."""

import pytest

from flows.prefect_plugin import complete_deployment

FULL = "pretrain-pipeline/pretrain-pipeline"


@pytest.mark.parametrize(
    "before",
    [
        "deployment run {}",
        "--no-prompt deployment run {}",
        "--prompt deployment run {}",
        "deployment run --no-prompt {}",
        "deployment run {} --no-prompt",
        "deployment --no-prompt run {}",
        "--profile local deployment run {}",
        "--profile=local deployment run {}",
        "deployment run --watch {}",
        "deployment run {} --watch -p force=true",
        "deployment run -p force=true {} --param pull=true",
        "deployment run --watch-interval 3 --params {{}} {}",
        "deployment run --flow-run-name=x {}",
    ],
)
def test_bare_name_is_completed(before: str) -> None:
    assert complete_deployment(before.format("pretrain-pipeline").split()) == before.format(FULL).split()


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "deployment",
        "deployment run",
        "deployment run --id 1234",
        f"deployment run {FULL}",
        "deployment run --help",
        "deployment ls",
        "flow-run ls pretrain-pipeline",
        "deploy --all",
        "server start --host 127.0.0.1",
    ],
)
def test_anything_else_is_left_alone(arguments: str) -> None:
    assert complete_deployment(arguments.split()) == arguments.split()
