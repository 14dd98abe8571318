"""Shared fixtures."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real meshes beside the checkout; tests that use it skip where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real meshes in {folder.relative_to(REPOSITORY.parent)}, beside the checkout")
    return folder
