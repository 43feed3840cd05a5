"""What the gates replay is judged by the wants that learning learns from."""

from datetime import timedelta
from pathlib import Path

from jobs.pipeline.replay import judged_sample
from tests.rewrite import world


def test_a_gate_knows_what_users_of_a_text_agree_on(tmp_path: Path) -> None:
    rows, spoken = world.turn_rows(), ["quiz bbc", "quiz cnn", "quiz ard", "quiz zdf"]
    for n, said in enumerate(spoken):
        for second, text, fails in ((0, "user friendly", True), (12, said, False)):
            at = world.SINCE + timedelta(minutes=n, seconds=second)
            rows.append(world.turn_row(len(rows), f"v{n}", at, text, fails))
    found = judged_sample(world.write_mined(tmp_path / "mined", rows), 10**6)
    wants = [j.want and j.want.text for j in found if j.fails and j.turn.utterance == "User Friendly"]
    assert sorted(str(want) for want in wants) == sorted(spoken)
