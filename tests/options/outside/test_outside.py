"""Every option is read from each of its sources; test_effects.py checks the effects."""

from pathlib import Path

import pytest

from agent_tui.options.declare import BY_NAME
from tests.options.outside.cases import CASES, Case
from tests.options.outside.conftest import Resolve
from tests.options.outside.rig import give


def sources(case: Case) -> list[str]:
    """Return the sources of the option outside the agent's code."""
    option = BY_NAME[case.option]
    variables = [each for each in (*option.environment, option.forced_by) if each]
    return [*variables, ".env", "config", "flag"]


LAYERS = {"config": "config file", "flag": "flag"}
EACH = [
    pytest.param(case, source, id=f"{case.option}-{source}") for case in CASES for source in sources(case)
]


@pytest.mark.parametrize(("case", "source"), EACH)
def test_it_is_read_from_each_source(case: Case, source: str, tmp_path: Path, resolve: Resolve) -> None:
    value = {"wsURL": "ws://127.0.0.1:7880", "port": "7"}.get(case.option, case.value)
    (tmp_path / ("other.py" if case.option == "agent" else "agent.py")).write_text(
        "async def entry(ctx): ...\n"
    )
    given = give(case.option, value, source, tmp_path)
    option, found = BY_NAME[case.option], resolve(*given.words, environ=given.environ)
    layer, where = found.sources[case.option]
    assert found.value(option) != option.default
    if case.option == "agent":  # the command searches the file before it resolves options
        assert {"config": "agent-tui.toml:2", "flag": "AGENT"}.get(source, source) in where
        return
    assert layer.startswith(LAYERS.get(source, "environment"))
    assert source in LAYERS or source in where
