"""How a generation's job processes come to be: chosen by what loading showed (design §5.2, fork.md §7)."""

from dataclasses import dataclass

from agent_tui.model.child import TemplateReport
from agent_tui.model.events import StartMethod

TEMPLATE_FROM_MS = 50.0
"""Below this a template saves nothing that could be measured, and each process has its own module state."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A start method and why, for people."""

    method: StartMethod
    reason: str


def worth_a_template(wanted: StartMethod | None, load_ms: float) -> bool:
    """Whether a template is to be tried."""
    if wanted is not None:
        return wanted is StartMethod.TEMPLATE
    return load_ms >= TEMPLATE_FROM_MS


def choose(
    wanted: StartMethod | None, impossible: str, load_ms: float, template: TemplateReport | None
) -> Choice:
    """`wanted` is what `--start-method` says, `impossible` why nothing can be forked, `template` what one
    found out that loaded the file; None if there is none, because it was not worth it or did not load.
    """
    took = f"loading takes {_duration(load_ms)}"
    if wanted is StartMethod.SPAWN:
        return Choice(StartMethod.SPAWN, "--start-method spawn")
    if impossible:
        return Choice(StartMethod.SPAWN, impossible)
    if wanted is StartMethod.FORK:
        return Choice(StartMethod.FORK, "--start-method fork")
    if not worth_a_template(wanted, load_ms):
        return Choice(StartMethod.FORK, took)
    if template is None:
        return Choice(StartMethod.FORK, f"the template did not load: each process loads by itself; {took}")
    if wanted is StartMethod.TEMPLATE:
        spite = f", although loading it leaves {template.unsafe}" if template.unsafe else ""
        return Choice(StartMethod.TEMPLATE, f"--start-method template{spite}")
    if template.unsafe:
        return Choice(
            StartMethod.FORK, f"loading leaves {template.unsafe}: each process loads by itself; {took}"
        )
    drawn = (
        f"; random values of {', '.join(template.drawn)} are the same in all jobs" if template.drawn else ""
    )
    return Choice(StartMethod.TEMPLATE, f"{took}, which is done once{drawn}")


def _duration(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 950 else f"{ms:.0f} ms"
