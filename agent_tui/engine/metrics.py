"""The text of `/metrics`, in Prometheus' format."""

from collections import Counter
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent_tui.model.child import ProcessKind
from agent_tui.model.events import ProcessState
from agent_tui.model.state import AppState, RegistrationState

MB = 1024 * 1024


def metrics(state: AppState, target: int) -> bytes:
    """Return the state in Prometheus' format; `target` is how many idle processes there should be."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(_families(state, target)))
    return generate_latest(registry)


class _Once(Collector):
    """Yields metric families that were computed in advance."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        return self._families

    def describe(self) -> Iterable[Metric]:
        return ()


def _families(state: AppState, target: int) -> Iterable[Metric]:
    worker, totals = state.worker, state.totals
    yield _gauge(
        "registered", "1 while registered with the server", worker.state is RegistrationState.REGISTERED
    )
    yield _gauge("measured_load", "measured load", worker.measured_load)
    yield _gauge("reported_load", "load reported to the server", worker.reported_load)
    yield _gauge("jobs_active", "active jobs", len(state.live_jobs))
    yield _gauge("idle_processes_target", "numIdleProcesses", target)
    yield _gauge("generation", "the current generation of the agent's code", state.generation.current)

    processes = state.live_processes
    by_state = GaugeMetricFamily("agent_tui_processes", "processes", labels=("kind", "state"))
    counts = Counter((process.kind, process.state) for process in processes)
    for kind in ProcessKind:
        for each in ProcessState:
            if each is not ProcessState.ENDED:
                by_state.add_metric((str(kind), str(each)), counts[kind, each])
    yield by_state

    memory = GaugeMetricFamily(
        "agent_tui_process_memory_bytes", "memory of a process", labels=("kind", "pid", "measure")
    )
    for process in processes:
        for measure in ("rss", "uss", "pss"):
            used = getattr(process, f"{measure}_mb")
            if used is not None:
                memory.add_metric((str(process.kind), str(process.pid), measure), used * MB)
        if process.children_mb:
            labels = (str(process.kind), str(process.pid), "children_rss")
            memory.add_metric(labels, process.children_mb * MB)
    yield memory

    started = CounterMetricFamily("agent_tui_jobs_started", "jobs started", labels=("start",))
    started.add_metric(("warm",), totals.warm)
    started.add_metric(("cold",), totals.started - totals.warm)
    yield started
    ended = CounterMetricFamily("agent_tui_jobs_ended", "ended jobs", labels=("status",))
    for status in ("success", "failed", "terminated", "lost"):
        ended.add_metric((status,), getattr(totals, status))
    yield ended
    yield CounterMetricFamily(
        "agent_tui_reconnects", "connections to the server lost", value=worker.reconnects
    )
    yield CounterMetricFamily(
        "agent_tui_memory_breaches", "memory warnings and limit breaches", value=len(state.breaches)
    )


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(f"agent_tui_{name}", what, value=float(value))
