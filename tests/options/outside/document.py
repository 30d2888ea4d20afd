"""docs/options.md: `python -m tests.options.outside.document > docs/options.md`."""
# ruff: noqa: E501  a page is wrapped at 120

import sys

from agent_tui.options.declare import BY_NAME, OPTIONS, Effect
from agent_tui.options.document import table
from tests.options.outside.cases import CASES

TEXT = """# Options

Generated from the declarations in `agent_tui/options/declare.py` and from the tests in `tests/options/outside`.
`agent-tui options [AGENT]` prints the values in effect, each with its source; `--json`, `--schema`, and `--export` print them
in other forms. [agent-tui.schema.json](agent-tui.schema.json) is the schema of the config file.

{table}

Durations are `10s`, `500ms`, `2m`, `1h`, or plain milliseconds; sizes are MB. `agentNameIsEnv` is derived: it says whether the
name in effect came from the environment (`/worker` reports it). Where the SDKs have different defaults, the default follows the
[runtime](glossary.md#runtime); a native file uses the JavaScript SDK's defaults.

These flags have neither a config key nor a variable:

| flag | commands | |
|---|---|---|
| `--config`, `--python`, `--node` | every command with an agent file | config file and interpreter |
| `--local` | `run`, `demo`, `tune`, `doctor` | use the embedded server |
| `--start-method`, `--no-mask-env` | `run`, `demo`, `tune` | how processes start, masking |
| `--job-length` | `run`, `demo`, `tune` | time limit of test jobs |
| `--headless`, `--json`, `--dispatch`, `--exit-when-idle` | `run`, `demo` | output and test jobs (`--json` also elsewhere) |
| `--talk`, `--say`, `--turn-timeout`, `--text`, `--sessions` | `run`, `demo` | [conversations](talk.md) |
| `--watch`, `--no-watch` | `run`, `demo` | what a save does |
| `--memory-measure`, `--debug`, `--no-watchdogs` | `run`, `demo` | memory limits and debugging |

The config file has three more keys: `allowRemote` (like `--allow-remote`: hosts of remote servers that may get test jobs.
If you share the file, the people you share it with are not asked to confirm these hosts), [`[screen]`](screen.md#colors-keys-motion), and
[`[prices]`](talk.md#what-it-costs).

`agent-tui COMMAND --help` describes the flags. The other flags of `tune` configure the measurement: [tuning.md](tuning.md#agent-tui-tune).

## Which value wins

Later sources override earlier ones:

1. the default for development or production;
2. the environment, then (if the environment does not set it) `.env.local` and `.env` in the agent's folder, the project's root,
   and the working directory. If several variables set one option, the first one in the table wins, except for
   `LIVEKIT_AGENT_NAME_OVERRIDE`, which is applied in step 4;
3. what the agent's code passes to `AgentServer`, `WorkerOptions`, or `rtc_session`. Only arguments passed in the call are used, not
   values that the SDK derives;
4. `LIVEKIT_AGENT_NAME_OVERRIDE`, which replaces an agent name from steps 1 to 3, as in the SDKs;
5. `agent-tui.toml` in the agent's folder, the project's root, or the working directory, or `[tool.agent-tui]` in a `pyproject.toml`
   there. `--config FILE` names another file. `${{NAME}}` in a string value is replaced by that variable;
6. the flag (`@FILE` as a secret's value reads it from that file);
7. an edit on the screen.

Each save makes agent-tui read the environment files, the config file, and the agent's code again. At startup, an invalid
value makes agent-tui exit with code 2. During a reload, it makes the reload fail, and the current code stays in use.

## Edits

The column "applies" says when an edit takes effect:

- `live`: immediately;
- `re-registers`: with a second registration, which replaces the first once the server has accepted it;
- `restarts idle processes`: by reloading the file; running jobs continue;
- `next start`: after it is saved and agent-tui is started again.

Edits are applied together: if one of them fails, all old values are kept. Edits are saved to `agent-tui.toml`, or to the config
file that was read; a secret is saved as a reference to its variable.

## Where it differs from the SDKs, on purpose

- `logLevel` sets the level; the JavaScript SDK never reads this option.
- `numIdleProcesses` 0 and `port` 0 are valid values, in production too. The default in development is 1, because with 0 the first
  job takes seconds.
- In production, `loadThreshold` is 0.7, as in the SDKs. A load function that returns NaN, raises, or hangs does not
  stop the worker: the previous load stays in effect, and a warning in the log names the problem.
- Negative, infinite, and extremely long durations are refused; in the JavaScript SDK they kill every process at once.
- `permissions.canPublishSources` is sent to the server; the JavaScript SDK leaves it out.
- With `maxRetry` 0, agent-tui reports why it did not connect.
- `drainTimeout` applies in production, where running jobs are allowed to finish when agent-tui stops, and to `Q` on the screen. With 0
  there is no time limit.
- `workerToken` is sent in the URL, in addition to key and secret. With it, `loadFunc` and `loadThreshold` are ignored, and a
  log line says so.
- When a job exceeds `jobMemoryLimitMB`, agent-tui first asks it to end gracefully, and kills what is left after 2 s.

## What is tested for each source

For each option, a test sets it in the agent's code, through one other source, and by an edit on the screen, and checks the effect in the second
column. Separate tests check that every source is read. `saved` means that an edit takes effect when agent-tui is next started, and
`–` that the source cannot set the option.

| option | checked effect | environment | `.env` | agent's code | config file | flag | edited |
|---|---|---|---|---|---|---|---|
{tests}
"""


def document() -> str:
    """Return the whole page."""
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
