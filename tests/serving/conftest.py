"""A service that many tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.keys import new_key
from tests.rewrite.conftest import bundle
from tests.serving.fakes import Rules, Running, service

__all__ = ["bundle"]

WORLD = Rules(
    "b1",
    shared={"play alien bridges": "play ancient bridges", "turn on the chicken light": "turn on the kitchen light"},
    own={"ann": {"call mum": "call mum mobile"}, "bob": {"call mum": "call mum at work"}},
    modelled=["turn on the chicken light", "slow one"],
    broken=["break"],
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Without keys, nobody held out."""
    with service(tmp_path_factory.mktemp("serve"), WORLD) as found:
        yield found


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[tuple[Running, dict[str, str]]]:
    """A service of its own with a key for each role, and the header that opens the operator's routes."""
    use, line = new_key("use", "assistant")
    secret, admin_line = new_key("admin", "operator")
    keys = tmp_path / "keys"
    keys.write_text(line + admin_line)
    with service(tmp_path, WORLD, keys=keys) as found:
        found.client.headers["authorization"] = f"Bearer {use}"
        yield found, {"authorization": f"Bearer {secret}"}
