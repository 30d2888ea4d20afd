"""Addresses, tokens, refusals, pauses, and load reports: pure functions."""

import errno
import json
import math
import random
import socket
import ssl
import warnings
from base64 import urlsafe_b64decode
from dataclasses import replace
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidMessage
from websockets.uri import parse_uri

from agent_tui.model.errors import UserError
from agent_tui.options.urls import is_loopback, shown_url
from agent_tui.worker import load
from agent_tui.worker.messages import WorkerStatus
from agent_tui.worker.protocol import Timings
from agent_tui.worker.refusals import explain_refusal, explain_unreachable, lacks_descriptors, skew_s
from agent_tui.worker.urls import TOKEN_LIFE_S, Places, ServerAddress, worker_token, worker_url
from agent_tui.worker.worker import pause_s

DEV = ServerAddress("ws://localhost:7880", "devkey", "secret")


# -- addresses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("ws://h:7880", "ws://h:7880/agent"),
        ("ws://h:7880/", "ws://h:7880/agent"),
        ("http://h", "ws://h/agent"),
        ("https://h", "wss://h/agent"),
        ("HTTPS://Host.Example", "wss://Host.Example/agent"),
        ("wss://h/base", "wss://h/base/agent"),
        ("wss://h/base//", "wss://h/base/agent"),
        ("ws://h/base?x=1", "ws://h/base/agent?x=1"),
        ("ws://h/base/?x=1&y=a%20b", "ws://h/base/agent?x=1&y=a%20b"),
        ("ws://[::1]:7880", "ws://[::1]:7880/agent"),
        ("http://h/rtc-proxy/é", "ws://h/rtc-proxy/%C3%A9/agent"),
    ],
)
def test_trap_19_the_endpoint_has_a_websocket_scheme_and_no_trailing_slash(url: str, wanted: str) -> None:
    assert worker_url(url) == wanted


def test_a_worker_token_joins_the_query() -> None:
    assert worker_url("ws://h", "a b&c") == "ws://h/agent?worker_token=a+b%26c"
    assert worker_url("ws://h/base?x=1", "t") == "ws://h/base/agent?x=1&worker_token=t"
    assert shown_url(worker_url("ws://h/base?x=1", "t")) == "ws://h/base/agent"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:7880",
        "localhost",
        "ftp://h",
        "ws://",
        "ws:///path",
        "ws://h:99999",
        "ws://h:0",
        "ws://h:port",
        "ws://h h",
        "ws://h\n",
        "ws://[::1",
        "ws://h#part",
        "ws://h,other",
        "wss://.",
    ],
)
def test_an_unusable_url_is_named(url: str) -> None:
    with pytest.raises(UserError) as raised:
        worker_url(url)
    assert repr(shown_url(url)) in str(raised.value)
    assert "LIVEKIT_URL" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(UserError) as raised:
        worker_url("ws://me:hunter2@h:1/x")
    assert "hunter2" not in str(raised.value)
    assert "h:1" in str(raised.value)


@given(st.text(max_size=30), st.sampled_from(["", "ws://", "https://", "ws://h/", "ws://h?", "ws://h:"]))
def test_any_url_is_either_refused_or_understood_by_the_websocket_library(rest: str, start: str) -> None:
    try:
        url = worker_url(start + rest)
    except UserError:
        return
    parsed = parse_uri(url)
    assert parsed.path.endswith("/agent")


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("ws://localhost:1/agent", True),
        ("ws://127.0.0.9", True),
        ("ws://[::1]:2", True),
        ("ws://lk.localhost", True),
        ("ws://localhost.example", False),
        ("ws://10.0.0.1", False),
    ],
)
def test_loopback(url: str, local: bool) -> None:
    assert is_loopback(url) is local


def test_secrets_stay_out_of_repr() -> None:
    shown = repr(ServerAddress("ws://h", "k", "topsecret", "worktoken"))
    assert "topsecret" not in shown
    assert "worktoken" not in shown


# -- tokens -----------------------------------------------------------------------------------------------


def test_trap_14_the_token_has_the_grant_within_video_and_an_expiry() -> None:
    now = 1_700_000_000.9
    header, payload, _ = worker_token(DEV, now).split(".")
    assert json.loads(urlsafe_b64decode(header + "==")) == {"alg": "HS256", "typ": "JWT"}
    assert json.loads(urlsafe_b64decode(payload + "==")) == {
        "iss": "devkey",
        "exp": 1_700_000_000 + TOKEN_LIFE_S,
        "video": {"agent": True},
    }


@pytest.mark.parametrize("secret", ["secret", "s" * 43, "geheim-ß", "-----BEGIN"])
def test_trap_15_a_short_secret_signs_without_a_warning(secret: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        token = worker_token(ServerAddress("ws://h", "k", secret), 4_000_000_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        claims = jwt.decode(token, secret, algorithms=["HS256"])
    assert claims["iss"] == "k"


def test_trap_15_signing_changes_nothing_for_others() -> None:
    worker_token(DEV, 0)
    with pytest.warns(UserWarning, match="HMAC key is 6 bytes"):
        jwt.encode({"a": 1}, "secret", algorithm="HS256")


@pytest.mark.parametrize(("key", "secret", "name"), [("", "s", "--api-key"), ("k", "", "--api-secret")])
def test_missing_credentials_are_named(key: str, secret: str, name: str) -> None:
    with pytest.raises(UserError, match=name):
        worker_token(ServerAddress("ws://h", key, secret), 0)


# -- refusals ---------------------------------------------------------------------------------------------

JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJkZXZrZXkifQ.RUBdwNP9lhxJgTCAl2L"


@pytest.mark.parametrize(
    ("code", "body", "look_at"),
    [
        (401, "invalid API key", "--api-key"),
        (401, "invalid API key: devkey", "--api-key"),
        (401, "invalid authorization token: go-jose: error in cryptographic primitive", "--api-secret"),
        (401, f"invalid token: {JWT}, error: token signature is invalid", "--api-secret"),
        (401, "invalid authorization token: validation failed, token is expired (exp)", "clock"),
        (401, f"invalid token: {JWT}, error: token has invalid claims: token is expired", "clock"),
        (401, "invalid authorization token: validation failed, token not valid yet (nbf)", "clock"),
        (401, "no permissions to access the room", "Authorization"),
        (401, "invalid authorization header. Must start with Bearer ", "header"),
        (401, "invalid authorization token", "--api-secret"),
        (401, "", "--api-key"),
        (403, "<html>forbidden", "--api-secret"),
        (404, "404 page not found\n", "path"),
        (407, "", "proxy"),
        (502, "Bad Gateway", "reports an error"),
        (200, "<html>hello", "--ws-url"),
    ],
)
def test_a_refusal_says_where_to_look(code: int, body: str, look_at: str) -> None:
    line = str(explain_refusal(code, body, "ws://h/agent?worker_token=t0k3n", DEV))
    assert look_at in line
    assert f"HTTP {code}" in line
    assert "ws://h/agent" in line
    assert "\n" not in line
    assert "t0k3n" not in line
    assert "eyJ" not in line


def test_a_secret_put_in_the_keys_place_is_not_printed() -> None:
    secret = "Zk3vQ9f0lWb7yTq2hXc8mNr5sPd1uJe6oGa4iRz"
    line = str(explain_refusal(401, f"invalid API key: {secret}", "ws://h", replace(DEV, api_key=secret)))
    assert secret not in line
    assert "Zk3v…" in line


def test_a_refusals_body_cannot_reach_the_terminal_raw() -> None:
    line = str(explain_refusal(503, "\x1b[2J" + "x" * 5000, "ws://h", DEV))
    assert "\x1b" not in line
    assert len(line) < 400


def untrusted(message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = message
    return error


@pytest.mark.parametrize(
    ("error", "look_at"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"), "nothing is listening on h:7880"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 111] Connect call failed"),
            "nothing is listening on h:7880",
        ),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "Network is unreachable"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "closed the connection"),
        (socket.gaierror(-2, "Name or service not known"), "unknown host name 'h'"),
        (socket.gaierror(-3, "Temporary failure in name resolution"), "could not resolve host name 'h'"),
        (untrusted("self-signed certificate"), "certificate of h:7880 is not trusted: self-signed"),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), "TLS"),
        (TimeoutError(), "in time"),
        (InvalidMessage("did not receive a valid HTTP response"), "valid HTTP response"),
        (ImportError("connecting through a SOCKS proxy requires python-socks"), "SOCKS"),
    ],
)
def test_an_unreachable_server_says_where_to_look(error: Exception, look_at: str) -> None:
    why = explain_unreachable(error, DEV, "ws://h:7880/agent?worker_token=t0k3n")
    assert look_at in why.cause
    assert "--ws-url" in why.todo
    assert "t0k3n" not in str(why)


def test_the_advice_names_where_the_values_were_set() -> None:
    where = Places("LIVEKIT_URL in .env:1", "--api-key", "LIVEKIT_API_SECRET in the environment")
    server = replace(DEV, places=where)
    assert server == DEV  # where a value was set makes no other server
    refused = explain_refusal(401, "invalid API key", "ws://h/agent", server)
    assert (
        refused.cause
        == "the server does not know the API key 'devkey' (ws://h/agent, HTTP 401, 'invalid API key')"
    )
    assert refused.todo == "check --api-key, or LIVEKIT_URL in .env:1"
    wrong = explain_refusal(401, "token signature is invalid", "ws://h/agent", server)
    assert wrong.todo == "check LIVEKIT_API_SECRET in the environment"
    nothing = explain_unreachable(ConnectionRefusedError(errno.ECONNREFUSED, "no"), server, "ws://h:1/agent")
    assert nothing.cause == "nothing is listening on h:1"
    assert nothing.todo == "start the server, or check LIVEKIT_URL in .env:1 (host and port)"


# -- pauses -----------------------------------------------------------------------------------------------


@given(st.integers(1, 10_000), st.integers())
def test_pauses_stay_within_their_jitter(attempt: int, seed: int) -> None:
    base = min(2.0 * attempt, 10.0)
    assert 0.8 * base <= pause_s(attempt, Timings(), random.Random(seed)) <= 1.2 * base


# -- load -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "changes", "wanted"),
    [
        (0.3, {"production": True}, load.Report(WorkerStatus.AVAILABLE, 0.3)),
        (0.7, {"production": True}, load.Report(WorkerStatus.FULL, 0.7)),
        (0.3, {}, load.Report(WorkerStatus.AVAILABLE, 0.0)),
        (0.95, {"threshold": math.inf}, load.Report(WorkerStatus.AVAILABLE, 0.0)),
        (0.8, {}, load.Report(WorkerStatus.FULL, 0.8)),
        (0.3, {"draining": True}, load.Report(WorkerStatus.FULL, 0.3)),
        (12.0, {"production": True}, load.Report(WorkerStatus.FULL, 1.0)),
        (0.0, {"threshold": 0.0}, load.Report(WorkerStatus.FULL, 0.0)),
    ],
)
def test_what_is_reported(measured: float, changes: dict[str, Any], wanted: load.Report) -> None:
    arguments = {"threshold": 0.7, "draining": False, "production": False} | changes
    assert load.report(measured, **arguments) == wanted


@pytest.mark.parametrize(
    ("value", "wanted", "is_problem"),
    [
        (0.0, 0.0, False),
        (0.5, 0.5, False),
        (3.0, 3.0, False),
        (-0.1, 0.0, True),
        (-math.inf, 0.0, True),
        (math.inf, 1.0, True),
        (math.nan, 0.4, True),
    ],
)
def test_an_invalid_load_is_corrected_and_reported(value: float, wanted: float, is_problem: bool) -> None:
    judged = load.judge(load.Measured(0.4), value)
    assert judged.load == wanted
    assert (judged.problem is not None) is is_problem


@pytest.mark.parametrize(
    ("skew", "said"), [(412.3, "6 min 52 s ahead of"), (-95.0, "1 min 35 s behind"), (3.0, ""), (None, "")]
)
def test_a_refusal_reports_the_clock_skew(skew: float | None, said: str) -> None:
    line = str(explain_refusal(401, "token is expired (exp)", "ws://h", DEV, skew))
    assert said in line
    assert ("this machine's clock is" in line) == bool(said)


def test_the_clock_of_a_server_is_read_from_its_answer() -> None:
    assert skew_s("Tue, 24 Nov 2026 12:00:00 GMT", 1795521612.5) == pytest.approx(12.5, abs=0.01)
    assert skew_s("", 0.0) is None
    assert skew_s("yesterday", 0.0) is None


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        OSError("Multiple exceptions: [Errno 24] Too many open files, [Errno 111] Connect call failed"),
    ],
)
def test_running_out_of_descriptors_is_not_blamed_on_the_server(error: OSError) -> None:
    assert lacks_descriptors(error)
    why = explain_unreachable(error, DEV, "ws://h:1/agent")
    assert why.cause == "agent-tui is out of file descriptors"
    assert "ulimit -n" in why.todo
