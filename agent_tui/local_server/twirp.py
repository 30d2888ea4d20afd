"""The server's API over HTTP: Twirp, in protobuf and in JSON, by the request's content type."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web
from google.protobuf import json_format, message_factory
from google.protobuf.message import DecodeError
from livekit.protocol import agent_dispatch, egress, ingress, room, sip

from agent_tui.local_server.auth import Grants

PREFIX: Final = "/twirp/"

_STATUS: Final[Mapping[str, int]] = {
    "bad_route": 404,
    "invalid_argument": 400,
    "malformed": 400,
    "not_found": 404,
    "unauthenticated": 401,
    "unimplemented": 501,
}
NOT_FOUND: Final = "404 page not found\n"

_JSON: Final = "application/json"
_PROTOBUF: Final = "application/protobuf"


@dataclass(frozen=True, slots=True)
class TwirpError(Exception):
    """An error answer: a Twirp code, a text, and metadata."""

    code: str
    msg: str
    meta: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        body: dict[str, Any] = {"code": self.code, "msg": self.msg}
        if self.meta:
            body["meta"] = dict(self.meta)
        return _json_response(json.dumps(body, separators=(",", ":")), _STATUS[self.code])


def _json_response(text: str, status: int = 200) -> web.Response:
    """Return a response without a charset in the content type, which clients compare as a whole."""
    return web.Response(status=status, content_type=_JSON, body=text.encode())


def refusal(code: str, text: str) -> TwirpError:
    """Return the error of a service behind the API. Like the real server, put Twirp's words before `text`."""
    return TwirpError(code, f"twirp error unknown: {text}")


Method = tuple[Callable[[Grants, Any], bool], Callable[[Any], Any]]
"""Two functions: whether some grants allow a request message, and the handler of that message."""


def _declared() -> dict[str, Any]:
    """Return every method that the real server's services declare, by `livekit.Service/Method`."""
    files = (agent_dispatch, egress, ingress, room, sip)
    services = [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    return {
        f"{service.full_name}/{method.name}": method for service in services for method in service.methods
    }


_DECLARED: Final = _declared()
_SERVICES: Final = frozenset(name.partition("/")[0] for name in _DECLARED)


async def answer(request: web.Request, grants: Grants, methods: Mapping[str, Method]) -> web.Response:
    """Answer a request for one of `methods`, keyed `livekit.Service/Method`."""
    try:
        return await _answer(request, grants, methods)
    except TwirpError as error:
        return error.response()


async def _answer(request: web.Request, grants: Grants, methods: Mapping[str, Method]) -> web.Response:
    name = request.path.removeprefix(PREFIX)
    if name.partition("/")[0] not in _SERVICES:
        return web.Response(status=404, text=NOT_FOUND)
    as_json = _speaks_json(request)
    if name not in _DECLARED:
        raise _bad_route(request, f'no handler for path "{request.path}"')
    if name not in methods:
        raise TwirpError(
            "unimplemented",
            f"{name} is not in the embedded server, which has no media: start livekit-server --dev",
        )
    is_allowed, run = methods[name]
    message = _parse(await request.read(), _DECLARED[name].input_type, as_json=as_json)
    if not is_allowed(grants, message):
        raise TwirpError("unauthenticated", "permissions denied")
    result = run(message)
    if as_json:
        text = json_format.MessageToJson(
            result, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=None
        )
        return _json_response(text)
    return web.Response(content_type=_PROTOBUF, body=result.SerializeToString())


def _speaks_json(request: web.Request) -> bool:
    if request.method != "POST":
        raise _bad_route(request, f'unsupported method "{request.method}" (only POST is allowed)')
    given = request.headers.get("Content-Type", "")
    kind = given.partition(";")[0].strip().lower()
    if kind not in (_JSON, _PROTOBUF):
        raise _bad_route(request, f'unexpected Content-Type: "{given}"')
    return kind == _JSON


def _parse(body: bytes, descriptor: Any, *, as_json: bool) -> Any:
    message = message_factory.GetMessageClass(descriptor)()
    try:
        if as_json:
            json_format.Parse(body, message, ignore_unknown_fields=True)
        else:
            message.ParseFromString(body)
    except (DecodeError, json_format.ParseError, UnicodeDecodeError):
        what = "json" if as_json else "protobuf"
        raise TwirpError("malformed", f"the {what} request could not be decoded") from None
    return message


def _bad_route(request: web.Request, msg: str) -> TwirpError:
    return TwirpError("bad_route", msg, {"twirp_invalid_route": f"{request.method} {request.path}"})
