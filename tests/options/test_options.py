"""Options: values of every kind, layers and their order, and error messages."""

import math
import re
from pathlib import Path

import pytest

from agent_tui.options.declare import BY_NAME, OPTIONS, DefaultsContext, Option
from agent_tui.options.envfiles import env_files, read_environment
from agent_tui.options.export import FORMATS
from agent_tui.options.permissions import Permissions
from agent_tui.options.resolve import (
    Layer,
    OptionError,
    SourcedValue,
    convert,
    environment_layers,
    resolve,
)
from agent_tui.options.urls import shown_url
from agent_tui.settings.settings import personal_deployment
from tests.fakes.hostile_values import CONTROL


def value(name: str, raw: object) -> object:
    return convert(BY_NAME[name], SourcedValue(raw, "test"))


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("initializeProcessTimeout", "10s", 10_000),
        ("initializeProcessTimeout", "500ms", 500),
        ("initializeProcessTimeout", "1.5s", 1_500),
        ("initializeProcessTimeout", "2m", 120_000),
        ("initializeProcessTimeout", "10000", 10_000),
        ("initializeProcessTimeout", 10_000, 10_000),
        ("numIdleProcesses", "0", 0),
        ("numIdleProcesses", 3.0, 3),
        ("port", "8081", 8081),
        ("loadThreshold", "0.7", 0.7),
        ("loadThreshold", "inf", math.inf),
        ("logLevel", "WARN", "warn"),
        ("serverType", "Publisher", "publisher"),
        ("agentName", "  bob ", "bob"),
        ("permissions", "canPublish=false, hidden=true", Permissions(can_publish=False, hidden=True)),
        ("permissions", {"canSubscribe": False}, Permissions(can_subscribe=False)),
        ("permissions", "canPublishSources=microphone", Permissions(can_publish_sources=("microphone",))),
    ],
)
def test_values_that_are_accepted(name: str, raw: object, expected: object) -> None:
    assert value(name, raw) == expected


@pytest.mark.parametrize(
    ("name", "raw", "says"),
    [
        ("initializeProcessTimeout", "0", "below 1 ms"),
        ("initializeProcessTimeout", "inf", "not a duration"),
        ("initializeProcessTimeout", "30 days", "not a duration"),
        ("initializeProcessTimeout", math.inf, "above 2147483647 ms"),
        ("initializeProcessTimeout", math.nan, "not a number"),
        ("numIdleProcesses", "-1", "below 0"),
        ("numIdleProcesses", "1.5", "not a whole number"),
        ("numIdleProcesses", math.inf, "not a whole number"),
        ("numIdleProcesses", True, "not a number"),
        ("port", "65536", "above 65535"),
        ("port", "http", "not a number"),
        ("loadThreshold", "nan", "not a number"),
        ("logLevel", "loud", "not a valid choice"),
        ("agentName", "a\x1b[31mb", "not allowed"),
        ("deployment", "a_b", "not allowed"),
        ("permissions", "canFly=true", "unknown permission 'canFly'"),
        ("permissions", "hidden", "without a value"),
        ("permissions", "hidden=maybe", "neither true nor false"),
    ],
)
def test_values_that_are_refused_name_option_value_source_and_remedy(
    name: str, raw: object, says: str
) -> None:
    with pytest.raises(OptionError) as raised:
        convert(BY_NAME[name], SourcedValue(raw, "from here"))
    line = str(raised.value)
    assert says in line
    assert line.startswith(f"{name}: {raw!r} (from here)")
    assert "; give " in line
    assert "\n" not in line


def test_a_bad_secret_is_not_shown() -> None:
    with pytest.raises(OptionError) as raised:
        value("apiSecret", "hush\x00hush")
    assert "hush" not in str(raised.value)


def test_later_layers_win_and_each_value_has_its_source() -> None:
    layers = (
        Layer(
            "environment", {"port": SourcedValue("1", "PORT in .env:3"), "host": SourcedValue("a", "HOST")}
        ),
        Layer("agent's code", {"port": SourcedValue(2, "agent.py:9")}),
        Layer("flag", {"port": SourcedValue("3", "--port")}),
    )
    resolution = resolve(layers, DefaultsContext())
    assert (resolution.options.port, resolution.sources["port"]) == (3, ("flag", "--port"))
    assert (resolution.options.host, resolution.sources["host"]) == ("a", ("environment", "HOST"))
    assert resolution.sources["maxRetry"] == ("default", "")


@pytest.mark.parametrize(
    ("runtime", "retries", "shutdown"), [("native", 10, 60_000), ("livekit-agents", 16, 10_000)]
)
def test_defaults_follow_the_runtime(runtime: str, retries: int, shutdown: int) -> None:
    options = resolve((), DefaultsContext(runtime)).options
    assert (options.max_retry, options.shutdown_process_timeout) == (retries, shutdown)
    assert options.num_idle_processes == 1
    assert options.host == "127.0.0.1"


REMOTE = DefaultsContext(personal_deployment="ann-laptop")


@pytest.mark.parametrize(
    ("given", "deployment", "source"),
    [
        ({}, "", ("default", "")),
        ({"wsURL": "ws://localhost:7880"}, "", ("default", "")),
        ({"wsURL": "wss://my.livekit.cloud"}, "ann-laptop", ("default", "personal deployment")),
        ({"wsURL": "wss://my.livekit.cloud", "production": "true"}, "", ("default", "")),
        ({"wsURL": "wss://my.livekit.cloud", "deployment": "blue"}, "blue", ("flag", "--x")),
        ({"wsURL": "wss://my.livekit.cloud", "deployment": ""}, "", ("flag", "--x")),
    ],
)
def test_development_on_a_remote_server_has_a_deployment_of_its_own(
    given: dict[str, str], deployment: str, source: tuple[str, str]
) -> None:
    flags = Layer("flag", {name: SourcedValue(raw, "--x") for name, raw in given.items()})
    resolution = resolve((flags,), REMOTE)
    assert (resolution.options.deployment, resolution.sources["deployment"]) == (deployment, source)


@pytest.mark.parametrize("form", FORMATS)
def test_a_personal_deployment_is_never_exported_and_its_absence_is(form: str) -> None:
    given = {"wsURL": SourcedValue("wss://my.livekit.cloud", "--ws-url"), "port": SourcedValue("1", "--port")}
    text = FORMATS[form](resolve((Layer("flag", given),), REMOTE), REMOTE)
    assert "deployment" not in text.lower()
    given["deployment"] = SourcedValue("", "--deployment")
    text = FORMATS[form](resolve((Layer("flag", given),), REMOTE), REMOTE)
    assert "deployment" in text.lower()


@pytest.mark.parametrize(
    ("user", "host", "name"),
    [
        ("ann", "laptop.local", "ann-laptop-local"),
        ("ann_b", "x", "ann-b-x"),
        ("jürgen", "büro", "j-rgen-b-ro"),
        ("a" * 80, "x", "a" * 64),
    ],
)
def test_a_personal_deployment_has_only_what_servers_accept(user: str, host: str, name: str) -> None:
    assert personal_deployment(user, host) == name
    option = BY_NAME["deployment"]
    assert convert(option, SourcedValue(name, "here")) == name


def test_secrets_are_masked_when_shown() -> None:
    resolution = resolve(
        (Layer("flag", {"apiSecret": SourcedValue("hush", "--api-secret")}),), DefaultsContext()
    )
    assert resolution.shown("apiSecret") == "•••"
    assert resolution.shown("port") == 0


def test_the_environment_gives_an_ordinary_and_an_overriding_layer() -> None:
    environ = {
        "LIVEKIT_AGENT_NAME": SourcedValue("plain", "LIVEKIT_AGENT_NAME in the environment"),
        "LIVEKIT_AGENT_NAME_OVERRIDE": SourcedValue("forced", "…"),
        "LOG_LEVEL": SourcedValue("debug", "…"),
        "LIVEKIT_URL": SourcedValue("", "…"),
    }
    plain, forced = environment_layers(environ)
    assert {name: given.raw for name, given in plain.values.items()} == {
        "agentName": "plain",
        "logLevel": "debug",
    }
    assert {name: given.raw for name, given in forced.values.items()} == {"agentName": "forced"}


def test_flags_are_kebab_case_and_unique() -> None:
    flags = [option.flag for option in OPTIONS] + [alias for option in OPTIONS for alias in option.aliases]
    assert len(flags) == len(set(flags))
    assert BY_NAME["jobMemoryWarnMB"].flag == "--job-memory-warn-mb"
    assert BY_NAME["wsURL"].flag == "--ws-url"
    assert BY_NAME["wsURL"].field == "ws_url"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_environment_files_in_order_of_precedence(tmp_path: Path) -> None:
    agent = write(tmp_path / "project/src/agent.py", "")
    write(tmp_path / "project/pyproject.toml", "")
    for folder in ("project/src", "project", "cwd"):
        write(tmp_path / folder / ".env", f"WHERE={folder}/.env\nONLY_{Path(folder).name.upper()}=1\n")
    write(tmp_path / "project/src/.env.local", "WHERE=local\n")
    cwd = tmp_path / "cwd"
    names = [str(path.relative_to(tmp_path)) for path in env_files(agent, cwd)]
    assert names == ["project/src/.env.local", "project/src/.env", "project/.env", "cwd/.env"]
    environment = read_environment(agent, cwd, {})
    assert environment.plain == {"WHERE": "local", "ONLY_SRC": "1", "ONLY_PROJECT": "1", "ONLY_CWD": "1"}


def test_the_process_environment_overrides_files_and_sources_name_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A", "0")
    agent = write(tmp_path / "agent.py", "")
    write(tmp_path / ".env", "# a comment\n\nA=1\nexport B='two words'\nC=${A}x\n")
    environment = read_environment(agent, tmp_path, {"A": "0"})
    assert environment.plain == {"A": "0", "B": "two words", "C": "0x"}
    assert environment.variables["B"].where == "B in .env:4"
    assert environment.variables["A"].where == "A in the environment"


def test_a_line_that_is_no_assignment_is_reported(tmp_path: Path) -> None:
    agent = write(tmp_path / "agent.py", "")
    write(tmp_path / ".env", "A=1\nnot an assignment at all = =\n'\nB=2\n")
    environment = read_environment(agent, tmp_path, {})
    assert environment.plain["A"] == "1"
    assert any(each.text.startswith(f".env:{each.line} ") for each in environment.problems)
    write(tmp_path / ".env", "A=1\n\nnot an assignment\n")
    (problem,) = read_environment(agent, tmp_path, {}).problems
    assert (problem.text, problem.line) == (".env:3 is not NAME=value; the line is ignored", 3)


def test_an_unreadable_file_is_reported_and_the_others_apply(tmp_path: Path) -> None:
    agent = write(tmp_path / "agent.py", "")
    (tmp_path / ".env.local").write_bytes(b"\xff\xfe\x00bad")
    write(tmp_path / ".env", "A=1\n")
    environment = read_environment(agent, tmp_path, {})
    assert environment.plain == {"A": "1"}
    assert "cannot read .env.local: " in environment.problems[0].text


TEXTS = [
    option
    for option in OPTIONS
    if option.kind.word in ("TEXT", "URL") and not option.kind.words  # except true or false
]


@pytest.mark.parametrize("option", TEXTS, ids=lambda option: option.name)
def test_text_options_refuse_characters_that_control_a_terminal(option: Option) -> None:
    for char in (*CONTROL, "\t", "\n", "\ud800", "\udcff"):
        raw = f"Xq{char}b"
        with pytest.raises(OptionError) as raised:
            convert(option, SourcedValue(raw, "LIVEKIT_X in .env:3"))
        line = str(raised.value)
        assert re.search(
            r" \(LIVEKIT_X in \.env:3\) contains the (control character U\+|byte 0x)[0-9A-F]{2,4}", line
        )
        assert line.isprintable()
        assert ("Xq" in line) is (option.name not in ("apiKey", "apiSecret", "workerToken", "wsURL"))


def test_all_text_options_are_tried() -> None:
    names = {"agent", "agentName", "deployment", "host", "wsURL", "apiKey", "apiSecret", "workerToken"}
    assert {option.name for option in TEXTS} == names


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://project.livekit.cloud", "wss://project.livekit.cloud"),
        ("ws://[::1]:7880/base?access_token=x", "ws://[::1]:7880/base"),
        ("localhost:7880", "localhost:7880"),
        ("project.livekit.cloud", "project.livekit.cloud"),
        ("127.0.0.1", "127.0.0.1"),
        ("", ""),
        ("wss://key:secret@host.example", "wss://…@host.example"),
        ("key:secret@host.example", "…@host.example"),
        ("key:se/cret@host.example", "…@host.example"),
        ("wss://key:secret", "wss://•••"),
        ("key:secret", "•••"),
        ("AbCdEfGh12345678", "•••"),
        ("0123456789abcdef0123456789abcdef", "•••"),
        ("eyJhbGciOiJI.eyJzdWIiOiJh.c2lnbmF0dXJl", "•••"),
        ("AbCdEfGh12345678://host", "•••://host"),
    ],
)
def test_urls_are_shown_without_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    if "•••" in shown or "@" in shown:
        with pytest.raises(OptionError) as raised:
            value("wsURL", url)
        assert f"wsURL: {shown!r} (test) cannot be used: it " in str(raised.value)
        assert "secret" not in str(raised.value).replace("API key and secret", "")


def test_secret_values_of_environment_files(tmp_path: Path) -> None:
    agent = write(tmp_path / "agent.py", "")
    write(
        tmp_path / ".env",
        "OPENAI_API_KEY=sk-1234567890\ndb_password='Tr0ub4dor&3'\nTOKEN=t-0123456789\nSECRET_NAME=not-a-secret-1\n"
        "SORT_KEY=created_at\nEMPTY_KEY=\nMONKEY=banana-split-99\nSIGNING_SECRET='two\nlines'\n",
    )
    environ = {"OPENAI_API_KEY": "sk-of-the-shell-1", "OTHER_TOKEN": "not-in-a-file-1"}
    environment = read_environment(agent, tmp_path, environ)
    assert environment.secrets == {
        "sk-1234567890",
        "sk-of-the-shell-1",
        "Tr0ub4dor&3",
        "t-0123456789",
        "two\nlines",
    }
