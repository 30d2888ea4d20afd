"""Resolution compared with a reference of ten lines, for random sets of sources."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent_tui.options.declare import BY_NAME, OPTIONS, DefaultsContext
from agent_tui.options.permissions import Permissions
from agent_tui.options.resolve import LOAD_SETTINGS, Layer, SourcedValue, resolve

ORDER = ("environment", "agent's code", "environment override", "config file", "flag", "edited", "sweep")

VALUES: dict[str, list[Any]] = {
    "deployment": ["", "blue"],
    "drainTimeout": ["10s", 0, "2m"],
    "host": ["127.0.0.1", "::1"],
    "initializeProcessTimeout": ["500ms", 1, 20_000.0],
    "jobMemoryLimitMB": [0, "512", 1.5],
    "jobMemoryWarnMB": ["0", 300],
    "loadFunc": ["", "busy"],
    "loadThreshold": [0, "0.5", float("inf")],
    "logLevel": ["debug", "WARN"],
    "maxRetry": [0, "3"],
    "numIdleProcesses": [0, "4", 2.0],
    "onReload": ["keep", "Restart", "swap"],
    "permissions": ["hidden=true", {"canPublish": False}, ""],
    "pin": [True, "no"],
    "port": [0, "8082"],
    "production": ["true", False, True],
    "serverType": ["room", "Publisher", "participant"],
    "sessionEndTimeout": [0, "5m"],
    "shutdownProcessTimeout": ["1s", 5],
    "wsURL": ["", "wss://cloud.example"],
}
TEXTS = ["", "one", "two"]

layers = st.lists(
    st.dictionaries(st.sampled_from([option.name for option in OPTIONS]), st.integers(0, 2), max_size=6),
    min_size=len(ORDER),
    max_size=len(ORDER),
)


def raw(name: str, choice: int) -> Any:
    values = VALUES.get(name, TEXTS)
    return values[choice % len(values)]


def reference(name: str, sources: list[dict[str, int]], context: DefaultsContext) -> tuple[object, str]:
    """Return the value of the last source that sets the option, else its default."""
    value, source = BY_NAME[name].default_for(context), "default"
    for layer, choices in zip(ORDER, sources, strict=True):
        if name in choices:
            value, source = BY_NAME[name].kind.convert(raw(name, choices[name])), layer
    return value, source


@given(layers, st.sampled_from(["native", "livekit-agents"]), st.integers(1, 64))
def test_it_agrees_with_the_reference(sources: list[dict[str, int]], runtime: str, cores: int) -> None:
    made = [
        Layer(layer, {name: SourcedValue(raw(name, choice), layer) for name, choice in given.items()})
        for layer, given in zip(ORDER, sources, strict=True)
    ]
    resolution = resolve(made, DefaultsContext(runtime, cores=cores))
    production = reference("production", sources, DefaultsContext())[0]
    context = DefaultsContext(runtime, bool(production), cores)
    token = reference("workerToken", sources, context)[0]
    for option in OPTIONS:
        names = [{}] * len(ORDER) if token and option.name in LOAD_SETTINGS else sources
        value, source = reference(option.name, names, context)
        assert resolution.value(option) == value, option.name
        assert resolution.sources[option.name][0] == source


def test_defaults_of_production_name_their_source() -> None:
    flags = Layer(
        "flag", {"production": SourcedValue(True, "--production"), "port": SourcedValue("0", "--port")}
    )
    resolution = resolve((flags,), DefaultsContext(cores=8))
    changed = {name for name, (_, where) in resolution.sources.items() if where == "default in production"}
    assert changed == {"numIdleProcesses", "loadThreshold", "host", "onReload"}
    assert (resolution.options.num_idle_processes, resolution.options.load_threshold) == (4, 0.7)
    assert resolution.options.port == 0


def test_every_value_is_written_as_it_is_parsed() -> None:
    for option in OPTIONS:
        for choice in range(3):
            value = option.kind.convert(raw(option.name, choice))
            assert option.kind.convert(option.kind.write(value)) == value, option.name
    everything = Permissions(False, False, False, False, ("camera", "microphone"), hidden=True)
    kind = BY_NAME["permissions"].kind
    assert kind.convert(kind.write(everything)) == everything
