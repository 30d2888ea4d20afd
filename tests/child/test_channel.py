"""The child's end of the channel, over a local socket pair."""

import json
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent_tui.child.python import channel as module
from agent_tui.child.python.channel import Channel
from agent_tui.child.python.records import RecordHandler


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


class Pair:
    """A channel, and its host's end."""

    def __init__(self) -> None:
        self.host, ours = socket.socketpair()
        self.host.settimeout(5)
        self.channel = Channel(ours)
        self.ours = ours
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.ended = threading.Event()

    def start(self) -> None:
        self.channel.start(lambda *message: self.taken.append(message), lambda: None, self.ended.set)

    def lines(self, count: int) -> list[dict[str, Any]]:
        data = b""
        while data.count(b"\n") < count:
            data += self.host.recv(65_536)
        return [json.loads(line) for line in data.splitlines()]

    def everything(self) -> list[dict[str, Any]]:
        """Return all lines, once the dropped ones are counted and nothing is queued."""
        data = b""
        while True:
            written = not self.channel._pending  # before the socket is empty: a written line may be in it
            if select.select([self.host], [], [], 0.01)[0]:
                data += self.host.recv(1 << 20)
            elif written and b"dropped" in data:
                return [json.loads(line) for line in data.splitlines()]

    def close(self) -> None:
        self.host.close()
        if any(thread.name.startswith("agent-tui") for thread in threading.enumerate()):
            assert self.ended.wait(5)
        until(lambda: not [each for each in threading.enumerate() if each.name.startswith("agent-tui")])
        self.ours.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


def test_messages_both_ways(pair: Pair) -> None:
    pair.host.sendall(b'{"case":"spec","value":{"a":1}}\n{"case":"ping"}\n{"case":')
    assert pair.channel.read_message() == ("spec", {"a": 1})
    pair.start()
    pair.host.sendall(b'"late"}\n')
    until(lambda: len(pair.taken) == 2)
    assert pair.taken == [("ping", {}), ("late", {})]
    pair.channel.send("pong", text="ü\ud800\n")
    assert pair.lines(1) == [{"case": "pong", "value": {"text": "ü\ud800\n"}}]


def test_the_end_of_the_host_is_reported_and_later_messages_are_dropped(pair: Pair) -> None:
    pair.start()
    pair.host.close()
    assert pair.ended.wait(5)
    pair.channel.send("pong")
    pair.channel.flush(5)
    assert pair.channel.ended


def test_records_are_dropped_with_a_count_while_messages_are_not(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BACKLOG", 100_000)
    pair.start()
    for number in range(3_000):
        pair.channel.offer("log", text=f"{number} {'x' * 1000}")
    pair.channel.send("exiting")
    found = pair.everything()
    texts = [str(each["value"].get("text", "")) for each in found if each["case"] == "log"]
    numbers = [int(text.split()[0]) for text in texts if "dropped" not in text]
    assert numbers == list(range(len(numbers)))
    assert [each["case"] for each in found].count("exiting") == 1
    dropped = next(int(text.split()[0]) for text in texts if "dropped" in text)
    assert len(numbers) + dropped == 3_000


def test_the_count_of_dropped_records_is_written_before_the_backlog(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BACKLOG", 100_000)
    pair.start()
    for number in range(3_000):
        pair.channel.offer("log", text=f"{number} {'x' * 1000}")
    pair.channel.flush(0.0)  # the host reads nothing: the time is up
    texts = [str(each["value"]["text"]) for each in pair.everything()]
    told = next(number for number, text in enumerate(texts) if "dropped" in text)
    assert len(texts) - told > 90  # the backlog follows it


def test_flush_waits_for_the_host(pair: Pair) -> None:
    pair.start()
    pair.channel.send("big", data="x" * 2_000_000)
    started = time.monotonic()
    pair.channel.flush(0.05)
    assert time.monotonic() - started >= 0.05
    assert len(pair.lines(1)[0]["value"]["data"]) == 2_000_000
    pair.channel.flush(5)


def test_a_forked_copy_does_not_hold_the_channel_open(pair: Pair) -> None:
    pair.start()
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        pair.channel.send("from the copy")
        os.write(write_end, b"1" if pair.channel.ended else b"0")
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read_end, 1) == b"1"
    os.close(read_end)
    os.close(write_end)
    pair.channel.send("from the job")
    assert [each["case"] for each in pair.lines(1)] == ["from the job"]


def test_a_record_with_everything(pair: Pair) -> None:
    handler = RecordHandler(logging.INFO)
    handler.send_to(pair.channel)
    handler.context.append({"job_id": "AJ_1", "answer": 1})
    logger = logging.Logger("agent")
    logger.addHandler(handler)
    logger.debug("below the level")
    try:
        raise ValueError("boom")
    except ValueError:
        logger.exception("it %s", "failed", extra={"answer": float("inf"), "thing": object()})
    [line] = pair.lines(1)
    value = line["value"]
    assert (line["case"], value["level"], value["logger"]) == ("log", logging.ERROR, "agent")
    assert value["text"].startswith("it failed\nTraceback")
    assert value["text"].endswith("ValueError: boom")
    assert (value["fields"]["job_id"], value["fields"]["answer"]) == ("AJ_1", "inf")
    assert value["fields"]["thing"].startswith("<object")


def test_a_record_of_any_size_stays_small(pair: Pair) -> None:
    handler = RecordHandler(logging.INFO)
    handler.send_to(pair.channel)
    logger = logging.Logger("l" * 100_000)
    logger.addHandler(handler)
    pair.start()
    fields = {f"field {number}": "v" * 100_000 for number in range(1_000)}
    logger.info("x" * 10_000_000, extra=fields | {"k" * 100_000: 10**50_000})
    logger.info("next", extra={"count": 10**50_000, "flag": True, "small": 7})
    first, following = (line["value"] for line in pair.lines(2))
    assert len(json.dumps(first)) < 600_000
    assert first["fields"]["…"] == "937 more fields"
    assert following["fields"]["count"].startswith("<int: Exceeds")
    assert (following["fields"]["flag"], following["fields"]["small"]) == (True, 7)


def test_long_texts_of_messages_are_shortened_and_data_is_not(pair: Pair) -> None:
    pair.start()
    long = "r" * 1_000_000
    pair.channel.send("exiting", reason=long)
    pair.channel.send("stacks", text=long)
    pair.channel.send("manifest", options={"agentName": {"value": long, "where": "agent.py:1"}})
    pair.channel.send("inference_request", request_id="1", method="m", data=long)
    reason, text, manifest, data = (line["value"] for line in pair.lines(4))
    assert len(reason["reason"]) < 5_000
    assert reason["reason"].startswith("rrr")
    assert len(text["text"]) < 270_000
    assert len(manifest["options"]["agentName"]["value"]) < 270_000
    assert data["data"] == long
