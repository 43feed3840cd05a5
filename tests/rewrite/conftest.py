"""One learned bundle for all tests of this folder."""

from pathlib import Path

import pytest

from tests.rewrite.world import tiny_generator, turn_rows, write_mined


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle learned from the tiny world; never change it in place."""
    from jobs.learn import LearnConfig, run

    folder = tmp_path_factory.mktemp("learned")
    tiny_generator().save(folder / "start")
    mined = write_mined(folder / "mined", turn_rows())
    run(mined, folder / "bundle", LearnConfig(steps=3, model=str(folder / "start"), harm=1.0, threads=1))
    return folder / "bundle"
