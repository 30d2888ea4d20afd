"""`--say`: conversations with an unmodified agent file, without a media server or keys."""

import signal
from pathlib import Path

import pytest

from tests.cli.support import AGENTS, Run, agent_tui, finished, save
from tests.sdks import each_sdk, newest_sdk, sdk_in_turn

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

TALKS = AGENTS / "sdk_talks.py"


def flags(python: Path, *turns: str) -> list[object]:
    said = [each for turn in turns for each in ("--say", turn)]
    return ["--local", "--json", "--port", 0, "--python", python, "--exit-when-idle", *said]


def replies(run: Run) -> list[tuple[int, str]]:
    return [(each["turn"], each["text"]) for each in run.all("message") if each["role"] == "assistant"]


def errors(run: Run) -> list[str | None]:
    return [each["error"] for each in run.all("turn_ended")]


@each_sdk()
async def test_turns_with_tools_a_handoff_a_failing_tts_and_a_reply_of_a_megabyte(sdk_python: Path) -> None:
    turns = ("one", "the weather", "this fails", "long", "billing")
    code, run = await finished(TALKS, *flags(sdk_python, *turns), environ={"TALK_TTS": "1"})
    assert code == 0, run.stderr
    said = replies(run)
    assert said.pop(3)[0] == 3
    assert said == [
        (0, "Hello!"),
        (1, "reply 1 to one"),
        (2, "It is sunny."),
        (4, "x" * 2**20),
        (5, "It is with billing."),
    ]
    weather, fails, billing = run.all("tool_call")
    assert (weather["turn"], weather["name"], weather["output"], weather["is_error"]) == (
        2,
        "weather",
        "sunny",
        False,
    )
    assert (fails["turn"], fails["is_error"]) == (3, True)
    line = next(
        n for n, text in enumerate(TALKS.read_text().splitlines(), 1) if "raise ValueError(json" in text
    )
    assert fails["error"] == f'sdk_talks.py:{line}: ValueError: "no weather"'
    assert "no weather" not in fails["output"]  # the SDK keeps it from the LLM
    assert weather["error"] is None
    assert (billing["turn"], billing["is_error"]) == (5, False)
    assert [(each["from_agent"], each["to_agent"]) for each in run.all("handoff")][-1] == (
        "talker",
        "billing",
    )
    assert [each["text"] for each in run.all("turn_started")] == list(turns)
    assert errors(run) == [None] * len(turns)
    (started,) = run.all("session_started")
    assert (started["session"], started["text_only"], started["generation"]) == (1, True, 1)
    assert run.all("usage")[-1]["input_tokens"] > 0
    assert all(each["first_delta_ms"] > 0 for each in run.all("turn_ended"))
    shown = "".join(each["text"] for each in run.all("message_delta") if each["turn"] == 1)
    assert shown == "reply 1 to one"
    (ended,) = run.all("job_ended")
    assert ended["reason"] == "all turns sent"
    assert "the TTS was called" not in "".join(each["text"] for each in run.all("log"))


@sdk_in_turn()
async def test_two_sessions_in_one_job_are_numbered(sdk_python: Path) -> None:
    code, run = await finished(TALKS, *flags(sdk_python, "one"), environ={"TALK_SESSIONS": "2"})
    assert code == 0, run.stderr
    assert [each["session"] for each in run.all("session_started")] == [1, 2]
    assert {each["session"] for each in run.all("session_ended")} == {1, 2}
    assert len(errors(run)) == 1


@each_sdk()
async def test_a_turn_without_an_answer_fails_the_next_is_said_and_a_dying_process_ends_them(
    sdk_python: Path,
) -> None:
    turns = flags(sdk_python, "hang", "one", "die", "two")
    code, run = await finished(TALKS, *turns, "--turn-timeout", "2s")
    assert code == 1
    assert errors(run) == ["no answer within 2 s", None, "the session ended: the process ended"]
    assert replies(run)[-1] == (2, "reply 2 to one")
    assert [each["reason"] for each in run.all("session_ended")] == ["the process ended"]


@sdk_in_turn()
async def test_a_tool_that_never_returns_fails_its_turn(sdk_python: Path) -> None:
    async with agent_tui(TALKS, *flags(sdk_python, "stuck"), "--turn-timeout", "1s") as run:
        ended = await run.until("turn_ended")
        assert ended["error"] == "no answer within 1 s"
        run.process.send_signal(signal.SIGINT)  # the SDK would wait for the tool for a minute
        await run.until("stopping")
        run.process.send_signal(signal.SIGINT)
        assert await run.end() == 130


@each_sdk()
async def test_twenty_calls_at_once_with_a_turn_each(sdk_python: Path) -> None:
    more = ("--dispatch", 20, "--num-idle-processes", 4)
    code, run = await finished(TALKS, *flags(sdk_python, "one", "@3 the weather"), *more)
    assert code == 0, run.stderr
    answers: dict[str, list[str]] = {}
    for each in run.all("message"):
        if each["role"] == "assistant" and each["text"] != "Hello!":  # it may come late
            answers.setdefault(each["job_id"], []).append(each["text"])
    third = next(each["job_id"] for each in run.all("job_started") if each["test_dispatch"] == 3)
    assert answers.pop(third) == ["reply 1 to one", "It is sunny."]
    assert list(answers.values()) == [["reply 1 to one"]] * 19
    assert {each["reason"] for each in run.all("job_ended")} == {"all turns sent"}


async def test_a_native_agent_has_no_session() -> None:
    code, run = await finished(
        AGENTS / "native_short.py", "--local", "--json", "--port", 0, "--exit-when-idle", "--say", "hello"
    )
    assert code == 1
    assert "the job ended before it started an AgentSession" in run.stderr


async def test_sessions_can_be_left_alone() -> None:
    code, run = await finished(TALKS, "--local", "--say", "hello", "--no-sessions")
    assert code == 2
    assert "--say needs the agent's sessions: leave out --no-sessions" in run.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--talk",), "--talk needs the screen: without one, use --say TEXT"),
        (("--talk", "--no-sessions"), "--talk needs the agent's sessions: leave out --no-sessions"),
    ],
)
async def test_talk_needs_the_screen_and_sessions(flags: tuple[str, ...], said: str) -> None:
    code, run = await finished(TALKS, "--local", *flags)
    assert code == 2
    assert said in run.stderr


@newest_sdk()
async def test_without_sessions_nothing_is_reported(sdk_python: Path) -> None:
    code, run = await finished(
        TALKS,
        *("--local", "--json", "--port", 0, "--python", sdk_python, "--no-sessions"),
        *("--exit-when-idle", "--dispatch", 1, "--job-length", "2s"),
    )
    assert code == 0, run.stderr
    assert not run.all("session_started")


@sdk_in_turn()
async def test_standard_input_is_said_line_by_line_also_after_a_save_and_its_end_ends_the_job(
    sdk_python: Path, tmp_path: Path
) -> None:
    agent = tmp_path / "agent.py"
    save(agent, TALKS.read_text())
    async with agent_tui(agent, *flags(sdk_python, "-"), cwd=tmp_path) as run:
        assert run.process.stdin is not None
        run.process.stdin.write(b"one\n")
        await run.until("turn_ended", turn=1)
        save(agent, TALKS.read_text().replace("reply", "answer"))
        await run.until("generation_ready", generation=2)
        run.process.stdin.write(b"two\n")
        ended = await run.until("turn_ended", turn=2)
        assert ended["error"] is None
        run.process.stdin.close()
        assert await run.end() == 0
    assert replies(run) == [
        (0, "Hello!"),
        (1, "reply 1 to one"),
        (2, "reply 2 to two"),
    ]  # a running session keeps its code
