"""When a base is used, updated, or replaced, over scripted children."""

from pathlib import Path

import pytest

from agent_tui.generations import bases
from agent_tui.generations.bases import MOST_DEATHS
from agent_tui.model import child as ch
from agent_tui.model.events import Notice
from agent_tui.model.logs import LogLevel
from tests.fakes.scripted_child import ScriptedChild, until

from .support import World, world

BASE = ch.ProcessKind.BASE


def imports(base: ScriptedChild) -> list[str]:
    return [name for each in base.sent if isinstance(each, ch.ImportModules) for name in each.modules]


async def test_one_base_serves_while_it_fits() -> None:
    async with world() as w:
        base = await w.bases.get({"A": "1"})
        assert base is not None
        assert await w.bases.get({"A": "2", "B": "new"}) is base
        assert w.bases.parents({"A": "3"}) == (w.children(BASE)[0],)
        w.bases.warm_up(base)
        w.bases.warm_up(base)
        assert imports(w.children(BASE)[0]) == ["warm"]
        await base.prepared.wait()


async def test_a_base_warms_up_once_the_control_process_is_forked() -> None:
    async with world() as w:
        prepare, before = w.nursery.prepare, list[str]()

        def look(child: ScriptedChild) -> None:
            if child.kind is ch.ProcessKind.CONTROL:
                before.extend(imports(w.children(BASE)[0]))
            prepare(child)

        w.nursery.prepare = look
        await w.load()
        assert before == []  # the import would delay the fork, and with it the registration
        assert imports(w.children(BASE)[0]) == ["warm"]


@pytest.mark.parametrize(
    ("asked", "before", "after", "same"),
    [
        (("OPENAI_API_VERSION",), {}, {"OPENAI_API_VERSION": "2"}, False),
        (("OPENAI_API_VERSION",), {"OPENAI_API_VERSION": "2"}, {}, False),
        (("HF_HOME",), {"OTHER": "1"}, {"OTHER": "2"}, True),
        ((), {}, {"OMP_NUM_THREADS": "1"}, False),  # read by native code, unseen
    ],
)
async def test_a_changed_variable_that_modules_read_makes_a_base_outdated(
    asked: tuple[str, ...], before: dict[str, str], after: dict[str, str], same: bool
) -> None:
    async with world() as w:
        w.script.base = ch.BaseReport("", "", asked, ())
        first = await w.bases.get(before)
        assert first is not None
        assert bool(w.bases.parents(after)) is same
        second = await w.bases.get(after)
        assert (second is first) is same
        if not same:
            await until(lambda: w.children(BASE)[0].exit.done())


async def test_missing_modules_are_imported_into_the_base() -> None:
    async with world() as w:
        await w.bases.get({})
        w.bases.learn(["boto3", "sdk"])
        w.bases.learn(["boto3", "pandas"])
        assert imports(w.children(BASE)[0]) == ["boto3", "pandas"]
        assert len(w.children(BASE)) == 1
        await until(lambda: w.children(BASE)[0].told(ch.FreeMemory))


async def test_a_plugin_that_is_no_longer_imported_replaces_the_base_without_a_gap() -> None:
    async with world() as w:
        await w.bases.get({})
        w.bases.learn(["livekit.plugins.silero"])
        assert w.bases.parents({})
        w.bases.learn([])
        assert w.bases.parents({}) == (w.children(BASE)[0],)
        await until(lambda: len(w.children(BASE)) == 2 and w.children(BASE)[0].exit.done())
        assert w.bases.parents({}) == (w.children(BASE)[1],)


async def test_changed_packages_replace_the_base_at_the_next_load(tmp_path: Path) -> None:
    async with world() as w:
        w.script.base = ch.BaseReport("", "", (), (str(tmp_path),))
        first = await w.bases.get({})
        assert w.bases.packages == (tmp_path,)
        assert w.bases.pop_changed_packages() is None
        (tmp_path / "six.py").touch()
        assert w.bases.pop_changed_packages() == tmp_path
        assert w.bases.pop_changed_packages() is None  # reported once
        assert w.bases.parents({})  # what is in use continues
        assert await w.bases.get({}) is not first


async def test_a_module_that_starts_threads_stays_out() -> None:
    async with world() as w:
        w.bases.learn(["ddtrace"])
        w.script.base = ch.BaseReport("ddtrace started 3 threads of _native", "ddtrace", (), ())

        def fit_without(child: ScriptedChild) -> None:
            w.script.prepare(child)
            w.script.base = ch.BaseReport("", "", (), ())

        w.nursery.prepare = fit_without
        base = await w.bases.get({})
        assert base is not None
        assert base.modules == {"sdk"}
        assert len(w.children(BASE)) == 2
        w.bases.learn(["ddtrace"])
        assert imports(w.children(BASE)[1]) == []


async def test_a_base_that_becomes_unsafe_is_replaced_without_that_module() -> None:
    async with world() as w:
        await w.bases.get({})
        w.script.imports_at_once = False
        w.bases.learn(["ddtrace"])
        w.children(BASE)[0].say(ch.Imported((), "ddtrace started 3 threads", "ddtrace", ()))
        await until(lambda: len(w.children(BASE)) == 2)
        w.children(BASE)[1].say(ch.Imported(("warm",), "", "", ()))
        await until(lambda: w.children(BASE)[0].exit.done())
        assert not w.bases.impossible


async def test_an_sdk_that_starts_threads_cannot_be_forked() -> None:
    async with world() as w:
        w.script.base = ch.BaseReport("sdk started 1 thread", "sdk", (), ())
        assert await w.bases.get({}) is None
        assert w.bases.impossible == "sdk started 1 thread"
        assert await w.bases.get({}) is None
        assert len(w.children(BASE)) == 1


async def kill_bases(w: World, count: int) -> None:
    for _ in range(count):
        await until(lambda: w.bases.parents({}))
        w.children(BASE)[-1].end(None, 9)
        await until(lambda: w.children(BASE)[-1].exit.done())
        await until(lambda: not w.bases.parents({}) or not w.children(BASE)[-1].exit.done())


async def test_bases_that_keep_dying_pause_forking_with_a_notice() -> None:
    async with world() as w:
        await w.bases.get({})
        await kill_bases(w, MOST_DEATHS)
        await until(lambda: w.bases.impossible)
        assert w.bases.impossible == "the base process keeps exiting: killed by SIGKILL"
        assert len(w.children(BASE)) == MOST_DEATHS
        (notice,) = w.told(Notice)
        assert isinstance(notice, Notice)
        assert notice.text == "the base process keeps exiting: killed by SIGKILL"
        assert notice.todo.startswith("starting fresh interpreters")
        assert await w.bases.get({}) is None


async def test_forking_resumes_after_a_pause() -> None:
    async with world(pause_s=0.01) as w:
        await w.bases.get({"A": "old"})
        await kill_bases(w, MOST_DEATHS)
        await until(lambda: w.bases.parents({}))
        assert not w.bases.impossible
        paused, resumed = w.told(Notice)
        assert isinstance(paused, Notice)
        assert isinstance(resumed, Notice)
        assert paused.about == resumed.about
        assert (paused.level, resumed.level) == (LogLevel.WARN, LogLevel.INFO)
        assert len(w.children(BASE)) == MOST_DEATHS + 1


async def test_rare_deaths_do_not_pause_forking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "DEATHS_WINDOW_S", 0.0)
    async with world() as w:
        await w.bases.get({})
        await kill_bases(w, 2 * MOST_DEATHS)
        await until(lambda: w.bases.parents({}))
        assert (w.bases.impossible, w.told(Notice)) == ("", [])


async def test_a_base_that_is_killed_while_it_starts_is_started_again() -> None:
    async with world() as w:
        prepare = w.nursery.prepare
        w.nursery.prepare = lambda child: child.end(None, 9) if len(w.children(BASE)) < 3 else prepare(child)
        assert await w.bases.get({}) is not None
        assert len(w.children(BASE)) == 3


async def test_a_base_that_fails_to_start_is_retried_after_a_pause() -> None:
    async with world(pause_s=0.01) as w:
        prepare = w.nursery.prepare
        w.nursery.prepare = lambda child: child.end(1) if len(w.children(BASE)) < 3 else prepare(child)
        assert await w.bases.get({}) is None
        assert w.bases.impossible == "the base process failed to start: exited with code 1"
        await until(lambda: w.bases.parents({}))
        assert len(w.children(BASE)) == 3


async def test_a_preload_hint_applies_to_this_and_later_bases() -> None:
    async with world() as w:
        await w.bases.get({})
        w.bases.hold("end-of-turn model")
        w.bases.hold("end-of-turn model")
        assert imports(w.children(BASE)[0]) == ["end-of-turn model"]
        w.children(BASE)[0].end(None, 9)
        await until(lambda: len(w.children(BASE)) == 2 and w.bases.parents({}))
        assert imports(w.children(BASE)[1]) == ["warm", "end-of-turn model"]


async def test_compiled_code_is_passed_to_the_base() -> None:
    async with world() as w:
        w.bases.share_code([{"path": "/a.py"}])  # no base to keep it
        await w.bases.get({})
        w.bases.share_code([{"path": "/a.py"}])
        assert w.children(BASE)[0].told(ch.KeepCode) == [ch.KeepCode(({"path": "/a.py"},))]
