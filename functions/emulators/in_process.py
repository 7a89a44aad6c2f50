"""Clients of the emulator without a network, in the shape of boto3's: same parameters, same errors."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from functions.emulators.aws_errors import AwsError
from functions.emulators.protocols import http_answer

if TYPE_CHECKING:
    from functions.emulators.kms import Answer, KmsEmulator, Service


class InProcessClient:
    """A client of one service, one identity and one Region.

    ``client.encrypt(KeyId=..., Plaintext=...)`` and the like check their parameters against botocore's model, and raise
    what a real client raises: ``ClientError`` by code, ``ParamValidationError``, and for faults of the transport
    ``ReadTimeoutError`` and ``ConnectionClosedError``. It does not retry.

    Args:
        emulator: Behind it.
        service: Which.
        access_key_id: Whose; the secret is not asked for.
        region: Of the endpoint.
    """

    def __init__(self, emulator: KmsEmulator, service: Service, access_key_id: str, region: str) -> None:
        from botocore.config import Config

        if service not in ("kms", "sts"):
            raise ValueError("the emulator has kms and sts")
        self._emulator = emulator
        self._service = service
        self._access_key_id = access_key_id
        self._model, self._operations, self.exceptions = _model(service)
        self.meta = SimpleNamespace(
            region_name=region, service_model=self._model, endpoint_url="in-process", config=Config(region_name=region)
        )

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        operation = self._operations.get(name) if not name.startswith("_") else None
        if operation is None:
            raise AttributeError(name)

        def call(**params: Any) -> dict[str, Any]:
            return self._call(operation, params)

        self.__dict__[name] = call
        return call

    def close(self) -> None:
        """Nothing is open."""

    def _call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        from botocore.exceptions import ConnectionClosedError, ParamValidationError, ReadTimeoutError

        from functions.emulators.kms import Incoming

        validator, shape = _validator(self._service, operation)
        report = validator.validate(params, shape)
        if report.has_errors():
            raise ParamValidationError(report=report.generate_report())
        params = {name: _blob(value) for name, value in params.items()}
        incoming = Incoming(self._service, operation, params, self._access_key_id, self.meta.region_name)
        answer = self._emulator.answer(incoming)
        fault = answer.fault
        if fault is not None and fault.hang:
            raise ReadTimeoutError(endpoint_url=self.meta.endpoint_url)
        if fault is not None and (fault.reset or fault.lost):
            raise ConnectionClosedError(endpoint_url=self.meta.endpoint_url)
        if fault is not None and (fault.body is not None or fault.corrupt):
            return self._parsed(operation, answer)
        if answer.error is not None:
            raise self._client_error(operation, _error_body(answer.error), self._metadata(answer.error.status))
        return {**(answer.result or {}), "ResponseMetadata": self._metadata(200)}

    def _parsed(self, operation: str, answer: Answer) -> dict[str, Any]:
        """What botocore makes of an answer that is not what it should be."""
        from botocore.parsers import create_parser

        status, content_type, body = http_answer(self._service, operation, answer, _request_id())
        headers = {**self._headers(), "content-type": content_type}
        output = self._model.operation_model(operation).output_shape
        found: dict[str, Any] = create_parser(self._model.resolved_protocol).parse(
            {"status_code": status, "headers": headers, "body": body}, output
        )
        if status >= 300:
            raise self._client_error(operation, found["Error"], self._metadata(status))
        return found

    def _client_error(self, operation: str, error: Mapping[str, str], metadata: dict[str, Any]) -> Exception:
        response = {"Error": dict(error), "ResponseMetadata": metadata}
        found: Exception = self.exceptions.from_code(error.get("Code", ""))(response, operation)
        return found

    def _headers(self) -> dict[str, str]:
        return {"date": _date(int(self._emulator.now() + self._emulator.skew))}

    def _metadata(self, status: int) -> dict[str, Any]:
        request_id = _request_id()
        return {
            "RequestId": request_id,
            "HTTPStatusCode": status,
            "HTTPHeaders": {**self._headers(), "x-amzn-requestid": request_id},
            "RetryAttempts": 0,
        }


@cache
def _model(service: str) -> tuple[Any, dict[str, str], Any]:
    """The service's model, its operations by method name, and its exceptions."""
    from botocore import xform_name
    from botocore.errorfactory import ClientExceptionsFactory
    from botocore.session import Session

    model = Session().get_service_model(service)
    operations = {xform_name(name): name for name in model.operation_names}
    return model, operations, ClientExceptionsFactory().create_client_exceptions(model)


@cache
def _validator(service: str, operation: str) -> tuple[Any, Any]:
    """What checks the parameters of an operation, and against what."""
    from botocore.model import StructureShape
    from botocore.validate import ParamValidator

    shape = _model(service)[0].operation_model(operation).input_shape
    return ParamValidator(), StructureShape("Nothing", {"type": "structure"}) if shape is None else shape


@lru_cache(maxsize=16)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def _blob(value: Any) -> Any:
    if isinstance(value, bytearray):
        return bytes(value)
    return value.read() if hasattr(value, "read") else value


def _error_body(error: AwsError) -> dict[str, str]:
    return {"Code": error.code, "Message": error.message}


def _request_id() -> str:
    return secrets.token_hex(16)
