"""docs/options.md: `python -m tests.options.outside.document > docs/options.md`."""
# ruff: noqa: E501  a page is wrapped at 120

import sys

from agent_tui.options.declare import BY_NAME, OPTIONS, Effect
from agent_tui.options.document import table
from tests.options.outside.cases import CASES

TEXT = """# Options

Made from the declarations in `agent_tui/options/declare.py` and from the tests in `tests/options/outside`.
`agent-tui options [AGENT]` prints the values in force, each with its source (also `--json`, `--schema` and
`--export`). The schema of the config file is in [agent-tui.schema.json](agent-tui.schema.json).

{table}

Durations are `10s`, `500ms`, `2m`, `1h` or plain milliseconds; sizes are MB. `agentNameIsEnv` is derived:
whether the name in force came from the environment (`/worker` tells it). Defaults follow the runtime where the SDKs
differ; a native file has those of the JavaScript SDK's page.

## Which value counts

Later beats earlier:

1. the default, of development or of production;
2. the environment, and below it `.env.local` and `.env` of the agent's folder, the project's root and the working
   folder; of several variables for one option the first of the table;
3. what the agent's code passes to `AgentServer`, `WorkerOptions` or `rtc_session` (the call has to pass it: what the
   SDK makes of it by itself does not count);
4. `LIVEKIT_AGENT_NAME_OVERRIDE`, as in the SDKs;
5. `agent-tui.toml` in the agent's folder, the project's root or the working folder, or `[tool.agent-tui]` in a
   `pyproject.toml` there; `--config FILE` names another. `${{NAME}}` in a text is that variable's value;
6. the flag; a secret may be `@FILE`;
7. edited on the screen.

Environment files, the config file and the agent's code are read again at each save. A value that its option does
not take stops the start (exit code 2), or that load: the code before it goes on.

## Edits

The last column says how an edit comes into force: `live` at once; `re-registers` with a second registration that
takes over once the server has accepted it; `restarts idle processes` by loading the file anew, running jobs go on;
`next start` not before it is saved and agent-tui started again. Edits are applied as one step: if one of them
cannot be, all old values stay. Saved edits go to `agent-tui.toml` (or the file that was read), secrets as a
reference to their variable.

## Where it differs from the SDKs, on purpose

- `logLevel` works (the JavaScript SDK never reads the option).
- `numIdleProcesses` 0 and `port` 0 are values, in production too; without one it is 1 in development, since none
  idle costs the first job seconds.
- `loadThreshold` 0.7 of production is kept. A load of NaN is told and the last load kept, and a load function that
  raises or hangs ends nothing.
- Durations are checked: no negative, endless or huge ones that kill every process at once.
- `permissions.canPublishSources` is sent.
- `maxRetry` 0 says why it gave up.
- `drainTimeout` counts in production, where a stop lets running jobs finish, and for `Q` on the screen; 0 waits
  without limit.
- `workerToken` goes on the URL, beside key and secret, and leaves no `loadFunc` and `loadThreshold` of one's own; that is said once.
- `jobMemoryLimitMB` ends the job in good order first and kills what is left after 2 s.

## What is tested from outside, by source

Each cell is a test that starts `agent-tui` with the option given by that source, and looks at its effect.

| option | seen as | environment | `.env` | agent's code | config file | flag | edited |
|---|---|---|---|---|---|---|---|
{tests}
"""


def document() -> str:
    """The whole page."""
    rows = []
    for case in CASES:
        option = BY_NAME[case.option]
        edited = "saved" if option.effect is Effect.RESTART else "✓"
        cells = [f"`{option.name}`", case.seen, "✓", "✓", "✓" if case.code else "–", "✓", "✓", edited]
        rows.append(f"| {' | '.join(cells)} |")
    assert len(rows) == len(OPTIONS)
    return TEXT.format(table=table(), tests="\n".join(rows))


if __name__ == "__main__":
    sys.stdout.write(document())
