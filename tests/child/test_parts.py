"""Parts of the children that need no process."""

import ast
import logging
import subprocess
import sys
import sysconfig
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agent_tui.child.python import debugging, lk_job, loading, main, process, project_files
from agent_tui.child.python.native import Context, NoEntryError, Process, find_agent, record
from agent_tui.model.events import StartMethod
from agent_tui.runtimes.kinds import KINDS

CHILD = Path(main.__file__).parent
PROGRAMS = {"main", "guard", "orphans"}
"""Scripts that are started directly."""


def test_everything_is_loaded_before_the_agents_file_is() -> None:
    code = f"import main, sys; main._load_siblings({str(CHILD)!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHILD, capture_output=True, text=True, check=True)
    own = {name.removeprefix(f"{main.PACKAGE}.") for name in done.stdout.split() if main.PACKAGE in name}
    assert {file.stem for file in CHILD.glob("[!_]*.py")} - PROGRAMS == own - {main.PACKAGE}


def test_each_kind_of_agent_file_has_its_work_here() -> None:
    python = [name for name, kind in KINDS.items() if StartMethod.FORK in kind.starts]
    assert {name: {"control", "template", "job"} - set(process._work(name)) for name in python} == {
        name: set() for name in python
    }


def test_children_need_only_the_standard_library_and_what_the_agent_has() -> None:
    allowed = sys.stdlib_module_names | {"livekit"}
    for file in CHILD.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(), feature_version=(3, 10))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            assert {name.split(".")[0] for name in names} <= allowed, file


def module_of(**names: Any) -> ModuleType:
    module = ModuleType("agent_file")
    vars(module).update(names)
    return module


def entry(ctx: object) -> None:
    """An entry function."""


@pytest.mark.parametrize(
    "names",
    [
        {"entry": entry},
        {"agent": {"entry": entry}},
        {"agent": type("Agent", (), {"entry": staticmethod(entry)})()},
        {"entry": entry, "agent": sys},
    ],
)
def test_an_agent_is_found_in_each_form(names: dict[str, Any]) -> None:
    assert find_agent(module_of(**names), "a.py").entry is entry


def test_a_module_that_is_not_an_agent_is_refused() -> None:
    with pytest.raises(NoEntryError, match=r"a.py has no entry function: the module-level `agent` needs"):
        find_agent(module_of(agent={}, entry=entry), "a.py")
    with pytest.raises(TypeError, match=r"load_func in a.py is float, not a function"):
        find_agent(module_of(entry=entry, load_func=0.5), "a.py")


def test_a_job_as_an_object() -> None:
    job = record({"id": "x", "room": {"name": "r", "list": [{"a": 1}]}, "attributes": {"$map": {"k": "v"}}})
    assert (job.id, job.room.name, job.room.list[0].a, job.attributes) == ("x", "r", 1, {"k": "v"})


async def test_a_context_keeps_its_fields_where_the_log_looks() -> None:
    value = {
        "job": {"room": {"name": "r"}},
        "worker_id": "AW",
        "token": "t",
        "url": "u",
        "fake_job": True,
    }
    context = Context(value, Process(), lambda reason: None, lambda: None)
    seen = context.log_context_fields
    context.log_context_fields = {"a": 1}
    context.log_context_fields["b"] = 2
    assert seen == {"a": 1, "b": 2}
    with pytest.raises(RuntimeError, match="livekit-server --dev"):
        await context.connect()


async def test_a_context_that_joined_its_room_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Room:
        async def connect(self, url: str, token: str, options: object) -> None:
            assert (url, token) == ("u", "t")

        async def disconnect(self) -> None:
            said.append("left")

        def on(self, event: str, callback: object) -> None: ...

    rtc = types.SimpleNamespace(Room=Room, RoomOptions=dict)
    monkeypatch.setitem(sys.modules, "livekit", types.ModuleType("livekit"))
    monkeypatch.setitem(sys.modules, "livekit.rtc", rtc)
    value = {"job": {"room": {"name": "r"}}, "worker_id": "AW", "token": "t", "url": "u", "fake_job": False}
    said: list[str] = []
    context = Context(value, Process(), said.append, lambda: said.append("joined"))
    await context.connect()
    await context.connect()
    assert said == ["joined"]
    await context.room.disconnect()
    assert said == ["joined", "room disconnected", "left"], "the reason is known before the server's answer"


@pytest.mark.parametrize(
    ("room_name", "noted"), [(None, ["room disconnected"]), ("r", ["room disconnected"]), ("other", [])]
)
async def test_a_job_that_deletes_its_room_has_a_reason_before_the_sdk_notices(
    room_name: str | None, noted: list[str]
) -> None:
    done: list[object] = []
    noted_at_deletion: list[str] = []

    def delete(room_name: str | None = None) -> None:
        done.append(room_name)
        noted_at_deletion.extend(said)

    said: list[str] = []
    context = types.SimpleNamespace(
        room=types.SimpleNamespace(disconnect=lambda: done.append("left")),
        job=types.SimpleNamespace(room=types.SimpleNamespace(name="r")),
        delete_room=delete,
    )
    lk_job._watch_leaving(types.SimpleNamespace(leave=said.append), context)  # type: ignore[arg-type]
    context.delete_room(room_name)
    assert (done, noted_at_deletion) == ([room_name], noted)
    context.room.disconnect()
    assert done[-1] == "left"
    assert len(said) == len(noted) + 1


# -- failures -------------------------------------------------------------------------------------------


def failing(tmp_path: Path, source: str) -> dict[str, Any]:
    file = tmp_path / "agent.py"
    file.write_text(source)
    saved = {name: sys.modules.get(name) for name in ("__main__", "agent_under_test")}
    try:
        with pytest.raises(BaseException) as caught:
            loading.run_file(str(file), "agent_under_test")
    finally:
        sys.modules.update({name: module for name, module in saved.items() if module is not None})
        sys.modules.pop("agent_under_test", None)
    return loading.describe(caught.value, str(file))


def test_the_users_innermost_frame_is_the_place(tmp_path: Path) -> None:
    told = failing(tmp_path, "import json\n\n\ndef f():\n    json.loads('{')\n\n\nf()\n")
    assert (told["file"], told["line"]) == (str(tmp_path / "agent.py"), 5)
    assert told["error"].startswith("json.decoder.JSONDecodeError: Expecting")
    assert "decoder.py" in told["traceback"]


def test_causes_and_groups_are_shown_without_our_frames(tmp_path: Path) -> None:
    source = "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise ValueError('a\\nb') from error\n"
    told = failing(tmp_path, source)
    assert told["error"] == "ValueError: a"
    assert "ZeroDivisionError" in told["traceback"]
    assert "agent_tui" not in told["traceback"]


@pytest.mark.parametrize("source", ["raise SystemExit('no key')", "raise KeyboardInterrupt", "x = (", "\0"])
def test_whatever_a_file_raises_has_text(tmp_path: Path, source: str) -> None:
    told = failing(tmp_path, source)
    assert told["error"]
    assert told["traceback"].rstrip().endswith(told["error"])


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_a_huge_message_is_shortened_and_still_says_what_and_where() -> None:
    told = loading.describe(raised(ValueError("begin " + "x" * (32 << 20) + " end")), "a.py")
    assert len(told["error"]) < 5_000
    assert told["error"].startswith("ValueError: begin xxx")
    assert len(told["traceback"]) < 70_000
    assert told["traceback"].startswith("Traceback")
    assert "ValueError: begin xxx" in told["traceback"]
    assert told["traceback"].endswith("x end\n")


def test_a_chain_of_thousands_is_described() -> None:
    error: BaseException | None = None
    for number in range(5_000):
        following = ValueError(f"number {number}")
        following.__cause__, error = error, following
    assert error is not None
    told = loading.describe(raised(error), "a.py")
    assert told["error"] == "ValueError: number 4999"
    assert len(told["traceback"]) < 70_000


def test_an_exception_that_cannot_be_described_keeps_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise RecursionError

    monkeypatch.setattr("traceback.TracebackException.from_exception", fails)
    assert loading.describe(KeyError("x"), "a.py")["error"] == "KeyError (no traceback: RecursionError)"


def test_project_files_are_not_installed_pythons_or_agent_tuis() -> None:
    assert project_files.is_project_file(__file__)
    assert not project_files.is_project_file(logging.__file__)
    assert not project_files.is_project_file(pytest.__file__)
    assert not project_files.is_project_file(loading.__file__)
    assert not project_files.is_project_file(sysconfig.get_path("stdlib") + "/anything.py")


# -- debuggers ------------------------------------------------------------------------------------------


@pytest.fixture
def untraced() -> Iterator[None]:
    if debugging.attached():
        pytest.skip("somebody debugs this test run")
    before = sys.breakpointhook
    yield
    sys.breakpointhook = before


def seen_from_another_thread() -> bool:
    """Return what the reading thread sees: it asks about the main thread."""
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(debugging.attached()))
    thread.start()
    thread.join()
    return answers[0]


@pytest.mark.usefixtures("untraced")
def test_a_tracing_debugger_is_seen_and_coverage_is_none() -> None:
    assert not seen_from_another_thread()
    frame, before = sys._getframe(), sys.gettrace()

    def trace(*_: object) -> Any:
        return trace

    class Coverage:
        __module__ = "coverage.tracer"

        def __call__(self, *_: object) -> Any:
            return self

    for tracer, expected in ((trace, True), (Coverage(), False)):
        sys.settrace(tracer)
        frame.f_trace = tracer
        try:
            found = seen_from_another_thread()
        finally:
            sys.settrace(before)
            frame.f_trace = None
        assert found is expected


@pytest.mark.usefixtures("untraced")
def test_a_connected_pydevd_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Debugger:
        writer: object | None = None

    pydevd = ModuleType("pydevd")
    vars(pydevd)["get_global_debugger"] = lambda: Debugger
    monkeypatch.setitem(sys.modules, "pydevd", pydevd)
    assert not debugging.attached()
    Debugger.writer = object()
    assert debugging.attached()


@pytest.mark.usefixtures("untraced")
def test_breakpoint_is_a_line(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("PYTHONBREAKPOINT", raising=False)
    debugging.install_hook()
    breakpoint()
    assert "test_parts.py" in caplog.text
    assert "no debugger is attached" in caplog.text


@pytest.mark.usefixtures("untraced")
def test_breakpoint_keeps_what_the_user_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[object, ...]] = []
    chosen = ModuleType("chosen_debugger")
    vars(chosen)["stop"] = lambda *args: called.append(args)
    monkeypatch.setitem(sys.modules, "chosen_debugger", chosen)
    monkeypatch.setenv("PYTHONBREAKPOINT", "chosen_debugger.stop")
    debugging.install_hook()
    breakpoint()
    assert called == [()]


FOREIGN_THREAD = """
import ctypes, os, sys, types
package = types.ModuleType("child")
package.__path__ = [sys.argv[1]]
sys.modules["child"] = package
from child import fork_safety
print(fork_safety.threads_left(), end=";")
libc, thread = ctypes.CDLL(None), ctypes.c_ulong()
libc.pthread_create(ctypes.byref(thread), None, ctypes.cast(libc.pause, ctypes.c_void_p), None)
print(fork_safety.threads_left(), end=";")
libc.pthread_setname_np(thread, b"tokio-worker")
print(fork_safety.threads_left(), flush=True)
os._exit(0)
"""


@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="nothing is forked elsewhere")
def test_a_thread_that_python_knows_nothing_of_is_found_and_named_if_it_has_a_name() -> None:
    done = subprocess.run([sys.executable, "-c", FOREIGN_THREAD, CHILD], capture_output=True, text=True)
    assert done.stdout.strip() == ";1 thread of a native library;1 thread of tokio-worker", done.stderr
