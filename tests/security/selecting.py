"""A plugin of pytest that leaves out every test which is named after no case; also in processes that run side by side."""

from __future__ import annotations

import pytest

from tests.security.catalogue import named


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = [item for item in items if named(item.name)]
    config.hook.pytest_deselected(items=[item for item in items if not named(item.name)])
    items[:] = chosen
