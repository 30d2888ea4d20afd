"""Every option does what it says, from each of its sources."""

from pathlib import Path

import pytest

from agent_tui.options.declare import BY_NAME
from tests.options.outside.cases import CASES, Case
from tests.options.outside.rig import rigged
from tests.sdks import REASON, sdk_pythons

pytestmark = pytest.mark.real


def sources(case: Case) -> list[str]:
    """Where the option can be set from."""
    option = BY_NAME[case.option]
    variables = [each for each in (*option.environment, option.forced_by) if each]
    return [*variables, ".env", "config", "flag", *(["code"] if case.code else [])]


ALL = [pytest.param(case, source, id=f"{case.option}-{source}") for case in CASES for source in sources(case)]


@pytest.mark.parametrize(("case", "source"), ALL)
async def test_its_effect_is_seen_from_outside(case: Case, source: str, tmp_path: Path) -> None:
    pythons = sdk_pythons()
    if not pythons and (source == "code" or case.sdk):
        pytest.skip(REASON)
    async with rigged(case, source, tmp_path, pythons[-1] if pythons else None) as rig:
        await case.check(rig)
