"""One handler for every route and every host: match, identify, decode, call, encode.

A host that can tell the head of a request before its body calls `Handler.admit`, reads the body of what was admitted,
and calls `Handler.serve`: nobody without a token makes it hold a body. Other hosts call `Handler.handle`. The order of
the checks is the same.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NoReturn

from core.domain.tenants import check_tenant_id
from core.errors import InternalError, KeysteadError, MethodNotAllowed, ProviderSignal
from core.service.access import Caller, allowed
from core.service.keystead import Keystead
from functions.calls import Answer, Call
from functions.decoding import JSON, RAW, media_type, read_body, read_query, too_large
from functions.faults import facts
from functions.identity import Identity
from functions.messages import Request, Response, choose_request_id
from functions.models.base import Model
from functions.operations import OPERATIONS
from functions.problems import BASE_HEADERS, RETRY_AFTER, problem_response
from functions.routes import Match, match

_log = logging.getLogger("keystead.handler")
_requests = logging.getLogger("keystead.request")
_to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_GONE = 499
"""Status in the log of a request whose caller left before it was read; nobody is answered with it."""


@dataclass(slots=True)
class _Trace:
    """What the request's log line says; filled as it becomes known. Never holds a raw path: it may be anything."""

    request_id: str
    method: str
    started: float
    route: str = ""
    tenant: str = ""
    subject: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Admission:
    """A request whose head was accepted.

    Attributes:
        allowed: Whether the caller may do what it asks for; `Handler.serve` refuses it if not.
        caller: None on routes without a token.
        tenant_id: From the path; "" where it has none.
    """

    request: Request
    match: Match
    kind: str
    caller: Caller | None
    allowed: bool
    tenant_id: str
    query: Model | None
    trace: _Trace

    @property
    def reads_body(self) -> bool:
        """Whether a host reads a body, up to ``max_body`` bytes; if not, `Handler.serve` gets none."""
        return self.allowed and self.match.route.request is not None

    @property
    def max_body(self) -> int:
        """Bytes."""
        return self.match.route.max_body


class Handler:
    """Answers requests; safe for threads. Logs one line per request on ``keystead.request``.

    Args:
        service: The façade.
        identity: Verifies tokens.
        timer: Seconds from any start, for durations.
    """

    def __init__(
        self, service: Keystead, identity: Identity, *, timer: Callable[[], float] = time.perf_counter
    ) -> None:
        self._service = service
        self._identity = identity
        self._timer = timer

    def handle(self, request: Request) -> Response:
        """Answer a whole request. Never raises an `Exception`."""
        admitted = self.admit(request)
        return admitted if isinstance(admitted, Response) else self.serve(admitted, request.body)

    def admit(self, request: Request) -> Admission | Response:
        """Decide on everything but the body.

        Returns:
            What to pass to `serve` with the body, or the refusal to send without reading it. Never raises an
            `Exception`.
        """
        trace = self._trace(request)
        try:
            return self._admit(request, trace)
        except MethodNotAllowed as error:
            if request.method == "OPTIONS":
                headers = {**BASE_HEADERS, "x-request-id": trace.request_id, "allow": ", ".join(error.allowed)}
                return self._finish(trace, Response(204, headers, b""))
            return self._fail(trace, error)
        except Exception as error:  # noqa: BLE001 - the last line of defence: no stack trace ever leaves
            return self._fail(trace, error)

    def serve(self, admission: Admission, body: bytes) -> Response:
        """Answer an admitted request. Never raises an `Exception`."""
        trace, route = admission.trace, admission.match.route
        try:
            if not admission.allowed:
                self._refuse_access(admission)
            document = read_body(route, admission.kind, admission.request.headers, body)
            parameters = admission.match.parameters
            call = Call(self._service, admission.caller, admission.tenant_id, parameters, document, admission.query)
            with self._time_left(admission):
                answer = OPERATIONS[route.operation](call)
            return self._finish(trace, _encode(answer, route.success, trace.request_id))
        except Exception as error:  # noqa: BLE001 - as above
            return self._fail(trace, error)

    def reject(self, admission: Admission, error: KeysteadError) -> Response:
        """Answer an admitted request that the host does not bring to `serve`."""
        return self._fail(admission.trace, error)

    def abandon(self, admission: Admission) -> None:
        """Log an admitted request whose caller left before its body was there."""
        admission.trace.code = "client_disconnected"
        self._finish(admission.trace, Response(_GONE, {}, b""))

    def refuse(self, request: Request, error: KeysteadError) -> Response:
        """Answer a request that the host itself refuses, such as one for another Host."""
        return self._fail(self._trace(request), error)

    def _trace(self, request: Request) -> _Trace:
        method = request.method if request.method in _METHODS else "other"
        return _Trace(request.request_id or choose_request_id(request.headers), method, self._timer())

    def _admit(self, request: Request, trace: _Trace) -> Admission:
        found = match(request.method, request.path)
        route = found.route
        trace.route = route.template
        kind = media_type(request, route)
        if len(request.body) > route.max_body:
            raise too_large(route.max_body)
        caller = None
        if route.permission:
            caller = self._identity.identify(request.headers.get("authorization"), trace.request_id)
            trace.subject = caller.subject
        tenant_id = found.parameters.get("tenant_id", "")
        if "tenant_id" in found.parameters:
            trace.tenant = check_tenant_id(tenant_id)
        # Only looked at here: recording a refusal writes to the audit chain, and a host may wait in `serve` only.
        may = caller is None or (route.action is not None and allowed(caller, route.action, tenant_id or None))
        query = read_query(request.query, route.query) if may else None
        return Admission(request, found, kind, caller, may, tenant_id, query, trace)

    def _time_left(self, admission: Admission) -> AbstractContextManager[None]:
        given = admission.request.seconds_left
        if given is None:
            return nullcontext()
        return self._service.time_left(given - (self._timer() - admission.trace.started))

    def _refuse_access(self, admission: Admission) -> NoReturn:
        action = admission.match.route.action
        assert admission.caller is not None
        assert action is not None
        self._service.admit(admission.caller, action, admission.tenant_id or None)
        raise AssertionError("the service admits what the handler does not")

    def _fail(self, trace: _Trace, error: Exception) -> Response:
        if not isinstance(error, KeysteadError) or isinstance(error, ProviderSignal):
            _log.error("bug", extra={"fields": {"request_id": trace.request_id, **facts(error)}})
            error = InternalError("an unexpected fault; the request id names it in the service's log")
        trace.code = error.code
        return self._finish(trace, problem_response(error, trace.request_id))

    def _finish(self, trace: _Trace, response: Response) -> Response:
        duration = round((self._timer() - trace.started) * 1000, 3)
        fields = {
            "request_id": trace.request_id,
            "method": trace.method,
            "route": trace.route,
            "status": response.status,
            "duration_ms": duration,
            "tenant": trace.tenant,
            "subject": trace.subject,
            "code": trace.code,
        }
        _requests.info("request", extra={"fields": {name: value for name, value in fields.items() if value != ""}})
        if trace.method == "HEAD":
            return Response(response.status, {**response.headers, "content-length": str(len(response.body))}, b"")
        return response


def _encode(answer: Answer, success: int, request_id: str) -> Response:
    headers = {**BASE_HEADERS, "x-request-id": request_id}
    if answer.status in RETRY_AFTER:
        headers["retry-after"] = str(RETRY_AFTER[answer.status])
    if isinstance(answer.content, bytes):
        return Response(answer.status or success, {**headers, "content-type": RAW}, answer.content)
    body = _to_json(answer.content).encode()
    return Response(answer.status or success, {**headers, "content-type": JSON}, body)
