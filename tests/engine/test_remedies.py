"""What to do about a failure: which variable, in which file, or which command."""

from dataclasses import replace
from pathlib import Path

import pytest

from agent_tui.engine.remedies import Place, with_remedy
from agent_tui.model import events as ev
from agent_tui.model import session_events as se
from agent_tui.model.failures import FailureKind
from agent_tui.options.envfiles import read_environment

KEY = "ValueError: Deepgram API key required. Set DEEPGRAM_API_KEY or provide api_key."
TRACE = '  File "/v/livekit/plugins/deepgram/stt.py", line 179, in __init__\n'
MODULE = "ModuleNotFoundError: No module named 'livekit.plugins'"
RESTART = "R restarts a call with it"


def place(folder: Path, **files: str) -> Place:
    for name, text in files.items():
        (folder / f".{name}").write_text(text)
    agent = folder / "agent.py"
    environment = read_environment(agent, folder, {})
    return Place(agent, folder, folder / "venv/bin/python", environment)


def failed(reason: str, trace: str = "", status: ev.JobStatus = ev.JobStatus.FAILED) -> ev.JobEnded:
    return ev.JobEnded("AJ_1", "a", 1, 1, status, reason, 1.0, traceback=trace)


def test_a_job_without_a_key_names_the_variable_and_the_file(tmp_path: Path) -> None:
    event = with_remedy(failed(KEY, TRACE), lambda: place(tmp_path, env="A=1\n"))
    assert isinstance(event, ev.JobEnded)
    assert event.reason == "DEEPGRAM_API_KEY is not set: deepgram STT needs it"
    assert event.todo == "set DEEPGRAM_API_KEY in .env, then save"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        (
            "agent.py",
            "from livekit.plugins import (\n    deepgram,\n    google,\n    openai as o,\n    silero,\n)\n",
        ),
        (
            "agent.mjs",
            "import * as d from '@livekit/agents-plugin-deepgram';\n"
            "import { LLM } from '@livekit/agents-plugin-openai';\n",
        ),
    ],
)
def test_the_keys_of_the_files_other_plugins_are_named_too(name: str, source: str, tmp_path: Path) -> None:
    agent = tmp_path / name
    agent.write_text(source)
    here = replace(place(tmp_path, env="A=1\n"), agent=agent)
    here = here if name.endswith(".py") else replace(here, python=None)
    event = with_remedy(failed(KEY, TRACE), lambda: here)
    assert isinstance(event, ev.JobEnded)
    assert event.todo == "set DEEPGRAM_API_KEY in .env, then save (also not set: OPENAI_API_KEY)"
    environment = read_environment(agent, tmp_path, {"OPENAI_API_KEY": "x"})
    event = with_remedy(failed(KEY, TRACE), lambda: replace(here, environment=environment))
    assert isinstance(event, ev.JobEnded)
    assert event.todo == "set DEEPGRAM_API_KEY in .env, then save"


def test_the_file_that_wins_is_named_and_a_new_one_if_there_is_none(tmp_path: Path) -> None:
    event = with_remedy(failed(KEY), lambda: place(tmp_path))
    assert isinstance(event, ev.JobEnded)
    assert event.todo == "set DEEPGRAM_API_KEY in .env (a new file), then save"
    (tmp_path / ".env.local").write_text("")
    event = with_remedy(failed(KEY), lambda: place(tmp_path, env="A=1\n"))
    assert isinstance(event, ev.JobEnded)
    assert event.todo == "set DEEPGRAM_API_KEY in .env.local, then save"


def test_a_variable_that_is_set_by_now_is_not_asked_for_again(tmp_path: Path) -> None:
    event = with_remedy(failed(KEY), lambda: place(tmp_path, env="DEEPGRAM_API_KEY=\n"))
    assert isinstance(event, ev.JobEnded)
    assert event.todo == "set DEEPGRAM_API_KEY in .env, then save"
    event = with_remedy(failed(KEY), lambda: place(tmp_path, env="DEEPGRAM_API_KEY=x\n"))
    assert isinstance(event, ev.JobEnded)
    now = "DEEPGRAM_API_KEY in .env:1 is set now"
    assert event.todo == f"{now}: start another job, or check the value that the code passes"


@pytest.mark.parametrize(
    "event", [failed("KeyError: 'room'"), failed(KEY, status=ev.JobStatus.SUCCESS), ev.Stopped("done")]
)
def test_other_events_stay_as_they_are(event: ev.Event, tmp_path: Path) -> None:
    assert with_remedy(event, lambda: place(tmp_path)) is event


def test_a_load_without_plugins_names_all_that_the_statement_imports(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text("import os\nfrom livekit.plugins import (\n    deepgram,\n    openai,\n)\n")
    trace = "  from livekit.plugins import (\n"
    event = with_remedy(ev.GenerationFailed(1, MODULE, str(agent), 2, trace), lambda: place(tmp_path))
    assert isinstance(event, ev.GenerationFailed)
    assert event.error == "livekit-plugins-deepgram, livekit-plugins-openai are not installed"
    command = "venv/bin/python -m pip install livekit-plugins-deepgram livekit-plugins-openai"
    assert event.todo == f"run {command}, then reload (r)"


def test_a_process_that_fails_to_start_names_what_its_prewarm_needs(tmp_path: Path) -> None:
    error = "ModuleNotFoundError: No module named 'livekit.plugins.silero'"
    event = with_remedy(ev.StartsFailing(1, 1, error, 1.0, True), lambda: place(tmp_path))
    assert isinstance(event, ev.StartsFailing)
    assert event.error == "livekit-plugins-silero is not installed"
    assert event.todo == "run venv/bin/python -m pip install livekit-plugins-silero, then reload (r)"


@pytest.mark.parametrize(
    ("kind", "provider", "todo"),
    [
        (FailureKind.OTHER, "openai", ""),
        (FailureKind.MISSING_KEY, "openai", f"set OTHER_API_KEY in .env, then save; {RESTART}"),
        (FailureKind.KEY_REFUSED, "openai", f"check OPENAI_API_KEY in .env:2, then save; {RESTART}"),
        (FailureKind.KEY_REFUSED, "groq", f"check GROQ_API_KEY, then save; {RESTART}"),
        (FailureKind.KEY_REFUSED, "", f"check the key of the provider; {RESTART}"),
        (FailureKind.QUOTA, "openai", "check the plan and the limits of your account at openai"),
        (
            FailureKind.UNRESOLVED,
            "openai",
            "check the network of this machine, and the address if the code sets one",
        ),
        (FailureKind.TIMEOUT, "", "check the network of this machine and the status of the provider"),
        (FailureKind.CERTIFICATE, "", "check the root certificates of this machine (SSL_CERT_FILE)"),
        (
            FailureKind.UNREACHABLE,
            "LiveKit Inference",
            "LiveKit Inference needs a project of LiveKit Cloud: set LIVEKIT_INFERENCE_API_KEY and "
            f"LIVEKIT_INFERENCE_API_SECRET in .env, then save; {RESTART}",
        ),
    ],
)
def test_a_failure_in_a_session_says_what_to_do(
    kind: FailureKind, provider: str, todo: str, tmp_path: Path
) -> None:
    failure = se.SessionFailed("AJ_1", 1, "llm", "x", provider, kind, ("OTHER_API_KEY",))
    event = with_remedy(failure, lambda: place(tmp_path, env="A=1\nOPENAI_API_KEY=x\n"))
    assert isinstance(event, se.SessionFailed)
    assert event.todo == todo
