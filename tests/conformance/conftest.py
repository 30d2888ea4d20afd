"""The servers that the suite runs against: always the embedded one, and a real one if there is one."""

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import jwt
import pytest

from agent_tui.local_server.connection import Timings
from agent_tui.local_server.server import LocalServer

from .client import Server

EMBEDDED = "embedded"
REAL = "livekit-server"


def _given() -> Server | None:
    url = os.environ.get("LIVEKIT_SERVER_URL")
    if not url:
        return None
    key = os.environ.get("LIVEKIT_SERVER_API_KEY", "devkey")
    return _real(url.rstrip("/"), key, os.environ.get("LIVEKIT_SERVER_API_SECRET", "secret"))


def _real(url: str, key: str, secret: str) -> Server:
    """The older server repeats the unknown key in its refusal."""
    server = Server(REAL, url, key, secret, register_s=10.0, answer_s=3.0, ping_s=10.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        header = {"Authorization": f"Bearer {server.token(iss='nobody')}"}
    request = urllib.request.Request(f"{server.http_url}/agent", headers=header)
    try:
        urllib.request.urlopen(request, timeout=5).close()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return replace(server, older=refusal.read() != b"invalid API key")
    raise AssertionError(f"{url} takes a token of an unknown key")


@pytest.fixture
def current(server: Server) -> Server:
    """Return the server; skip on older ones, which behave differently."""
    if server.older:
        pytest.skip("this livekit-server is older than the version that the protocol reference describes")
    return server


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield the server of the environment, or one started for the session."""
    if given := _given():
        yield given
        return
    program = shutil.which("livekit-server")
    assert program is not None
    port, rtc_tcp, rtc_udp = _free_ports(3)
    config = f"port: {port}\nrtc:\n  tcp_port: {rtc_tcp}\n  udp_port: {rtc_udp}\n  use_external_ip: false\n"
    log = tmp_path_factory.mktemp("livekit-server") / "log"
    command = [program, "--dev", "--bind", "127.0.0.1", "--config-body", config]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        _await_port(port, process, log)
        yield _real(f"ws://127.0.0.1:{port}", "devkey", "secret")
    finally:
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def _await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"livekit-server did not come up: {log.read_text()[-2000:]}")


HAS_REAL = bool(os.environ.get("LIVEKIT_SERVER_URL") or shutil.which("livekit-server"))
SERVERS = [EMBEDDED, pytest.param(REAL, marks=pytest.mark.real)] if HAS_REAL else [EMBEDDED]


@asynccontextmanager
async def _under_test(request: pytest.FixtureRequest, timings: Timings) -> AsyncIterator[Server]:
    """Yield the server that the test is parametrized with. Only the embedded one takes the timings."""
    if request.param == REAL:
        yield request.getfixturevalue("real_server")
        return
    async with LocalServer(timings=timings) as ours:
        yield Server(
            EMBEDDED,
            ours.url,
            ours.api_key,
            ours.api_secret,
            register_s=timings.register_s,
            answer_s=timings.answer_budget_s,
            ping_s=timings.websocket_ping_s,
        )


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """Yield a server under test."""
    async with _under_test(request, Timings()) as server:
        yield server


@pytest.fixture(params=SERVERS)
async def hurried(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """Yield a server for a test that waits for its limits: those of the embedded one are short."""
    async with _under_test(
        request, Timings(register_s=1.0, answer_budget_s=1.5, websocket_ping_s=0.3)
    ) as server:
        yield server
