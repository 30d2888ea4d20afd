"""Hostile text in every field of every event: its output controls no terminal and shows no secret.

The events are made from their annotations, so that a new class, field or structure is here by itself.
"""

import json
import typing
from typing import Any

import pytest

from agent_tui.engine.bus import Bus
from agent_tui.headless import jsonl, lines
from agent_tui.headless.writer import Writer
from agent_tui.logs.redactor import Redactor
from agent_tui.logs.store import LogStore
from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.logs import LogLevel, LogLine, LogSource, LogStream
from agent_tui.options.permissions import Permissions
from tests.fakes.clock import FakeClock
from tests.fakes.hostile_values import HOSTILE, SECRET, raw_in, texts_in, with_text

EVENTS = typing.get_args(ev.Event)


@pytest.fixture
def redactor() -> Redactor:
    made = Redactor()
    made.mask([SECRET])
    return made


def published(redactor: Redactor, event: ev.Event) -> tuple[ev.Stamped, Bus]:
    bus = Bus(FakeClock(), redactor.clean_value)
    reader = bus.subscribe()
    bus.publish(event)
    (stamped,) = reader._waiting
    return stamped, bus


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_no_event_carries_control_characters_or_a_secret(kind: type[Any], redactor: Redactor) -> None:
    event = with_text(kind, HOSTILE)
    stamped, bus = published(redactor, event)
    assert type(stamped.event) is kind
    for text in (*texts_in(stamped.event), *texts_in(bus.state)):
        assert raw_in(text) == []
        assert SECRET not in text
    forms = [lines.to_line(stamped) or ""]
    if (body := jsonl.event(stamped.event)) is not None:
        forms.append(jsonl.line(body, 0.0, 1))
    for form in forms:
        assert raw_in(form) == []
        assert SECRET not in form


@pytest.mark.parametrize(
    "value",
    [
        {HOSTILE: ({HOSTILE: [HOSTILE]}, (HOSTILE, (HOSTILE,)))},
        {"permissions": (Permissions(can_publish_sources=(HOSTILE,)), frozenset({HOSTILE}))},
    ],
)
def test_structures_within_structures_are_cleaned(value: dict[str, Any], redactor: Redactor) -> None:
    stamped, _ = published(redactor, ev.OptionsChanged(value))
    assert len(texts_in(stamped.event)) == len(texts_in(value))
    assert not any(raw_in(text) or SECRET in text for text in texts_in(stamped.event))


def test_the_result_of_a_command_is_cleaned(redactor: Redactor) -> None:
    result = redactor.clean_value(with_text(cmd.CommandResult, HOSTILE))
    assert not any(raw_in(text) or SECRET in text for text in texts_in(result))


def test_no_text_of_an_event_looks_like_another_event() -> None:
    line = lines.to_line(ev.Stamped(1, 0.0, ev.JobLost("room\n00:00:00.000 ● registered", "why")))
    assert line is not None
    assert [each.startswith("    ") for each in line.split("\n")] == [False, True]
    source = LogSource("p1", LogStream.RECORD)
    log = LogLine(0, 0.0, LogLevel.INFO, source, None, "a\nb", fields={"x": "1\n00:00:00.000 ● registered"})
    assert all(each.startswith("    ") for each in lines.log_to_line(log).split("\n")[1:])


def test_log_records_are_cleaned_in_all_their_fields(redactor: Redactor) -> None:
    store = LogStore(FakeClock(), redactor=redactor)
    source = LogSource("p1", LogStream.RECORD)
    fields: dict[str, object] = {HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE, {"x": (HOSTILE,)}]}}
    store.add(source, LogLevel.INFO, HOSTILE, logger=HOSTILE, fields=fields)
    store.add_many(source, LogLevel.INFO, [HOSTILE])
    for log in store.pull(0, 2):
        for form in (lines.log_to_line(log), jsonl.line(jsonl.log_line(log), 0.0, 1)):
            assert raw_in(form) == []
            assert SECRET not in form


@pytest.mark.real
def test_everything_written_to_stdout_is_escaped(tmp_path: Any) -> None:
    path = tmp_path / "out"
    with path.open("wb") as stream:
        writer = Writer(stream.fileno(), "utf-8", lambda error: None)
        writer.write(json.dumps({"x": HOSTILE + "\ud800"}, ensure_ascii=False))
        writer.write(f"  room {HOSTILE}")
        writer.close()
    written = path.read_text()
    assert raw_in(written) == []
    assert json.loads(written.split("\n")[0]) == {"x": HOSTILE + "\ud800"}
