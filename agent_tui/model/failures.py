"""What an error of the agent's code or of a provider is about, read from its texts by tables of patterns.

The texts are those of the SDKs, their plugins, and the libraries under them (tests/model/test_failures.py).
"""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum

from msgspec import Struct


class FailureKind(StrEnum):
    """What a failure is about. The values are those of the public JSON field `kind`."""

    OTHER = ""
    MISSING_KEY = "missing_key"
    """A variable with a key or credentials is not set."""
    MISSING_PACKAGE = "missing_package"
    """A plugin or another package is not installed."""
    KEY_REFUSED = "key_refused"
    """The provider refused the key."""
    QUOTA = "quota"
    """The provider refused the request: too many, or the quota is used up."""
    UNRESOLVED = "unresolved"
    """The name of the provider's host could not be resolved."""
    UNREACHABLE = "unreachable"
    """The provider's host refused the connection, or cannot be reached."""
    CERTIFICATE = "certificate"
    """The certificate of the provider's host was not accepted."""
    TIMEOUT = "timeout"
    """The provider did not answer in time."""


class Cause(Struct, frozen=True):
    """An exception: its class, its text, and, if known, the host and the HTTP status."""

    type: str
    text: str
    host: str = ""
    status: int = 0


class Failure(Struct, frozen=True):
    """What is known about an error. `text` starts with the cause."""

    kind: FailureKind
    text: str
    names: tuple[str, ...] = ()
    """The variables that are not set, or the packages that are not installed."""
    host: str = ""
    status: int = 0


# -- keys --------------------------------------------------------------------------------------------------

_NAME = r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_(?:API_KEY|KEY|TOKEN|SECRET|CREDENTIALS|PASSWORD|PROJECT|REGION|HOST)"
"""Matches the name of a variable with a key, or with something else that belongs to it."""

_SAYS_MISSING = re.compile(
    r"(?:is |are )?required\b|must be (?:set|provided|available)|[Mm]issing (?:API key|credentials)"
    r"|option must be set|could not be found|were not found|cannot be empty"
)
"""Matches how plugins say that a key is missing."""

_VARIABLE = re.compile(rf"(?<![A-Z0-9_]){_NAME}(?![A-Z0-9_])")
_KEY_ERROR = re.compile(rf"KeyError: ['\"]?(?P<name>{_NAME})['\"]?")

_WITHOUT_NAME = (
    (r"Deepgram API key", "DEEPGRAM_API_KEY"),
    (r"OVHcloud AI Endpoints API key", "OVHCLOUD_API_KEY"),
    (
        r"Application [Dd]efault [Cc]redentials|default credentials were not found",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ),
)
"""Texts of plugins that do not name the variable they read, and that variable."""

INFERENCE = "LiveKit Inference"
_INFERENCE = re.compile(r"set LIVEKIT_API_(?:KEY|SECRET)\b")
INFERENCE_NAMES = ("LIVEKIT_INFERENCE_API_KEY", "LIVEKIT_INFERENCE_API_SECRET")
"""The variables of LiveKit Inference. Without them, it uses the server's key."""

KEYS = {
    "anthropic": "ANTHROPIC_API_KEY",
    "assemblyai": "ASSEMBLYAI_API_KEY",
    "azure": "AZURE_SPEECH_KEY",
    "cartesia": "CARTESIA_API_KEY",
    "deepgram": "DEEPGRAM_API_KEY",
    "elevenlabs": "ELEVEN_API_KEY",
    "google": "GOOGLE_API_KEY",
    "groq": "GROQ_API_KEY",
    "hume": "HUME_API_KEY",
    "inworld": "INWORLD_API_KEY",
    "openai": "OPENAI_API_KEY",
    "rime": "RIME_API_KEY",
}
"""The variable that each plugin reads its key from."""


def missing_variables(text: str) -> tuple[str, ...]:
    """Return the variables of which a text says that they are not set; empty if it says no such thing."""
    if found := _KEY_ERROR.search(text):
        return (found["name"],)
    if not _SAYS_MISSING.search(text):
        return ()
    if _INFERENCE.search(text):
        return INFERENCE_NAMES
    names = sorted(_VARIABLE.findall(text), key=lambda name: not name.endswith("_KEY"))
    without = [name for pattern, name in _WITHOUT_NAME if re.search(pattern, text)]
    return tuple((names or without)[:1])


# -- packages ----------------------------------------------------------------------------------------------

_PLUGINS = "livekit.plugins"
_NO_MODULE = re.compile(r"No module named ['\"](?P<module>[\w.]+)['\"]")
_NO_NAME = re.compile(rf"cannot import name ['\"](?P<module>\w+)['\"] from ['\"]{re.escape(_PLUGINS)}['\"]")
_IMPORTED = re.compile(rf"from {re.escape(_PLUGINS)} import (?:\(([^)]+)\)|([\w ,]+))")
_NO_PACKAGE = re.compile(
    r"Cannot find (?:package|module) ['\"](?P<package>(?:@[\w.-]+/)?[a-zA-Z][\w.-]*)(?:/[\w./-]*)?['\"]"
)
_PACKAGES = {
    "PIL": "pillow",
    "aiohttp": "aiohttp",
    "dotenv": "python-dotenv",
    "google.genai": "google-genai",
    "httpx": "httpx",
    "numpy": "numpy",
    "openai": "openai",
    "pydantic": "pydantic",
    "requests": "requests",
    "yaml": "pyyaml",
}
"""The packages of modules other than plugins. Any other module may be the project's own."""


def missing_packages(text: str, quoted: str = "") -> tuple[str, ...]:
    """Return the packages that an error says are not installed; empty if it says no such thing.

    If no plugin is installed, the error of `from livekit.plugins import a, b` names none of them; `quoted` is
    the code that raised it.
    """
    if found := _NO_PACKAGE.search(text):
        return (found["package"],)
    if found := _NO_NAME.search(text):
        return (_plugin(found["module"]),)
    if not (found := _NO_MODULE.search(text)):
        return ()
    module = found["module"]
    if module == _PLUGINS:
        imported = [*_IMPORTED.finditer(quoted)]
        names = re.sub("#.*", "", imported[-1][1] or imported[-1][2]).split(",") if imported else []
        return tuple(_plugin(each.split()[0]) for each in names if each.strip())
    if module.startswith(f"{_PLUGINS}."):
        return (_plugin(module.removeprefix(f"{_PLUGINS}.").partition(".")[0]),)
    known = _PACKAGES.get(module)
    return (known,) if known else ()


def _plugin(name: str) -> str:
    return f"livekit-plugins-{name.replace('_', '-')}"


# -- connections -------------------------------------------------------------------------------------------

_STATUS = re.compile(
    r"Unexpected server response: (?P<ws>\d{3})|[Ee]rror code: (?P<openai>\d{3})|^(?P<first>[45]\d\d)\b"
    r"|server rejected WebSocket connection: HTTP (?P<websockets>\d{3})"
)
"""Matches an HTTP status in a text."""

_HOST = re.compile(
    r"getaddrinfo \w+ (?P<node>[\w.-]+)|Cannot connect to host (?P<aiohttp>[\w.-]+)"
    r"|ECONNREFUSED (?P<address>[\w.:\[\]-]+)"
)
"""Matches a host in a text."""

_CONTEXTS = ("StopAsyncIteration", "StopIteration", "CancelledError")
"""Exceptions during which another one was raised, without being its cause."""

_BY_STATUS = {
    401: (FailureKind.KEY_REFUSED, "{host} refused the key: {status}"),
    403: (FailureKind.KEY_REFUSED, "{host} refused the key: {status}"),
    429: (FailureKind.QUOTA, "{host} refused the request, too many or quota used up: {status}"),
}

_BY_TEXT = tuple(
    (re.compile(pattern), kind, text)
    for pattern, kind, text in (
        (
            r"[Nn]ame or service not known|nodename nor servname|ENOTFOUND|EAI_AGAIN|name resolution"
            r"|No address associated|Name does not resolve|DNSError",
            FailureKind.UNRESOLVED,
            "could not resolve {host}",
        ),
        (
            r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|self.signed certificate"
            r"|unable to (?:get local issuer|verify the first) certificate",
            FailureKind.CERTIFICATE,
            "the certificate of {host} was not accepted",
        ),
        (
            r"ECONNREFUSED|[Cc]onnection refused|Connect call failed|ENETUNREACH|EHOSTUNREACH"
            r"|[Nn]etwork is unreachable|No route to host|All connection attempts failed|ECONNRESET"
            r"|fetch failed|ClientConnectorError|^APIConnectionError: (?:Error)?$|[Cc]onnection error"
            r"|[Ff]ailed to connect|connection failed",
            FailureKind.UNREACHABLE,
            "could not connect to {host}",
        ),
        (
            r"API key not valid|[Ii]ncorrect API key|[Ii]nvalid API key|API_KEY_INVALID|[Uu]nauthorized",
            FailureKind.KEY_REFUSED,
            "{host} refused the key",
        ),
        (
            r"[Tt]imed[ -]?out|TimeoutError|ETIMEDOUT|[Tt]imeout",
            FailureKind.TIMEOUT,
            "{host} did not answer in time",
        ),
    )
)


_NEEDED_BY = re.compile(
    r"(?:livekit/plugins/(?P<python>\w+)|agents-plugin-(?P<js>[\w-]+)(?:/(?:dist|src))?)(?:/\w+)*/(?P<part>\w+)\.\w+"
)
"""Matches a file of a plugin in a traceback."""

_PARTS = {"llm": "LLM", "stt": "STT", "tts": "TTS", "vad": "VAD", "realtime_model": "realtime model"}
"""The part of a plugin by the name of its file."""


def failure_in_code(error: str, traceback: str = "", code: str = "") -> Failure:
    """Return what an exception of the agent's code is about: a missing key or package, or nothing known.

    `code` is the code that raised it. The traceback quotes only its first line.
    """
    if packages := missing_packages(error, code or traceback):
        return Failure(FailureKind.MISSING_PACKAGE, _are_not_installed(packages), packages)
    if names := missing_variables(error):
        files = [*_NEEDED_BY.finditer(traceback)]
        needs = ""
        if files:
            plugin, part = files[-1]["python"] or files[-1]["js"], files[-1]["part"].lower()
            needs = f": {plugin} {_PARTS[part]} needs it" if part in _PARTS else f": plugin {plugin} needs it"
        return Failure(FailureKind.MISSING_KEY, f"{_are_not_set(names)}{needs}", names)
    return Failure(FailureKind.OTHER, error)


def failure_of(causes: Sequence[Cause], provider: str = "") -> Failure:
    """Return what a chain of exceptions is about, the outermost first.

    `provider` names the component that failed, such as a plugin, in case the exceptions name no host.
    """
    causes = [each for each in causes if each.type not in _CONTEXTS]
    if not causes:
        return Failure(FailureKind.OTHER, "no reason given")
    told = [f"{each.type}: {each.text}" for each in causes]
    for text in told:
        if names := missing_variables(text):
            return Failure(FailureKind.MISSING_KEY, _are_not_set(names), names)
        if names := missing_packages(text):
            return Failure(FailureKind.MISSING_PACKAGE, _are_not_installed(names), names)
    host = _first(each.host or _found(_HOST, each.text) for each in reversed(causes))
    status = int(
        _first(str(each.status or "") or _found(_STATUS, each.text) for each in reversed(causes)) or 0
    )
    kind, text = _BY_STATUS.get(status, (FailureKind.OTHER, ""))
    for line in reversed(told):
        if text:
            break
        kind, text = next(((k, t) for p, k, t in _BY_TEXT if p.search(line)), (FailureKind.OTHER, ""))
    if text:
        return Failure(
            kind, text.format(host=host or provider or "the provider", status=status), (), host, status
        )
    return Failure(FailureKind.OTHER, _plain(causes, host, status), (), host, status)


def _plain(causes: Sequence[Cause], host: str, status: int) -> str:
    """Return the texts of an unknown failure: the outermost, then the innermost one if it says more."""
    first, last = causes[0], causes[-1]
    text = first.text.strip().removesuffix(".") or first.type
    if last.text.strip() and last.text not in first.text:
        text = f"{text}: {last.text.strip().removesuffix('.')}"
    known = [each for each in (host, str(status or "")) if each and each not in text]
    return f"{' '.join((text, *known))} ({last.type})" if text != last.type else text


def _first(texts: Iterable[str]) -> str:
    return next((each for each in texts if each), "")


def _found(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return next((each for each in found.groups() if each), "") if found else ""


def _are_not_set(names: Sequence[str]) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not set"


def _are_not_installed(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} not installed"
