"""Everything here needs namespaces."""

from __future__ import annotations

import pytest

from tests.partitions.network import why_not


@pytest.fixture(scope="session", autouse=True)
def _namespaces() -> None:
    if why_not():
        pytest.skip(why_not())
