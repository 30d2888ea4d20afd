"""The pictures in `screenshots/` are painted from recordings, always the same."""

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "screenshots"
RECORDINGS = sorted((FOLDER / "recordings").glob("*.jsonl"))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    for name in ("HOME", "TZ", "COLORTERM", "TERM"):  # set while a recording is played
        monkeypatch.setenv(name, "")


async def test_the_same_recording_gives_the_same_picture() -> None:
    import make

    dashboard = make.PICTURES[0]
    svg = await make.painted(dashboard)
    assert "kitchen" in svg
    assert svg == await make.painted(dashboard)


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_recording_can_be_played_to_its_end(path: Path) -> None:
    import recording

    playback = recording.Playback(recording.read_recording(path))
    playback.play(playback.end)
    assert playback.state.agent.startswith("/home/ann/frontdesk/")
    assert playback.state.log_end


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_recording_names_nothing_of_the_machine_that_made_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "/home/ann/" in text
    for place in ("/tmp/", "/root", "/work", sys.prefix):
        assert place not in text
