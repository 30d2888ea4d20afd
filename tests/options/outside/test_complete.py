"""Every option is in the tables of this folder, and in the pages made from the declarations."""

import jsonschema
import pytest

from agent_tui.options.declare import BY_NAME, OPTIONS
from agent_tui.options.document import schema, schema_text
from tests.cli.support import ROOT
from tests.options.outside.cases import CASES
from tests.options.outside.document import document
from tests.options.outside.test_edited import LIVE
from tests.options.outside.test_refused import BAD


def test_every_option_has_its_case() -> None:
    assert [case.option for case in CASES] == [option.name for option in OPTIONS]


def test_every_live_option_is_changed_during_dispatches() -> None:
    assert {option.name for option in OPTIONS if option.effect.is_live} == set(LIVE)


def test_every_option_has_a_bad_value() -> None:
    assert set(BAD) == set(BY_NAME)


def test_the_page_is_not_stale() -> None:
    assert (ROOT / "docs/options.md").read_text(encoding="utf-8") == document(), (
        "stale: python -m tests.options.outside.document > docs/options.md"
    )


def test_the_schema_is_not_stale() -> None:
    assert (ROOT / "docs/agent-tui.schema.json").read_text(encoding="utf-8") == schema_text(), (
        "stale: agent-tui options --schema > docs/agent-tui.schema.json"
    )


def test_the_schema_accepts_what_the_options_accept() -> None:
    validator = jsonschema.Draft202012Validator(schema())
    validator.check_schema(schema())
    good = {"numIdleProcesses": 2, "drainTimeout": "10s", "permissions": {"hidden": True}, "production": True}
    validator.validate({**good, "apiSecret": "${LIVEKIT_API_SECRET}", "logLevel": "info", "port": "${PORT}"})
    for name, value in {"logLevel": "loud", "port": 70_000, "permissions": {"x": True}, "other": 1}.items():
        assert not validator.is_valid({name: value}), name


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_defaults_are_values(option: object) -> None:
    chosen = next(each for each in OPTIONS if each is option)
    assert chosen.kind.expects
    assert chosen.help.endswith(".")
