"""Sixteen callers of sixteen tenants at once: nobody ever sees what belongs to another."""

from __future__ import annotations

import base64
import json
import threading
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from functions.local.issuer import LocalIssuer
from tests.functions.live import Server, http, serving

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("live")]
TENANTS = [f"tenant-{n:02}" for n in range(16)]
ROUNDS = 25


class Caller(threading.Thread):
    """Works for one tenant; notes whatever is not its own."""

    def __init__(self, server: Server, tenant: str, token: str, start: threading.Barrier) -> None:
        super().__init__()
        self.server, self.tenant, self.token, self.gate = server, tenant, token, start
        self.other = TENANTS[(TENANTS.index(tenant) + 1) % len(TENANTS)]
        self.wrong: list[Any] = []
        self.message = b""

    def run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        self.gate.wait()
        for number in range(ROUNDS):
            try:
                self.round(connection, number)
            except Exception as error:  # noqa: BLE001 - shown by the test
                self.wrong.append(error)
                return
        connection.close()

    def ask(self, connection: HTTPConnection, method: str, path: str, body: Any = None, request_id: str = "") -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "X-Request-Id": request_id}
        connection.request(method, path, data, {**headers, **({"Content-Type": "application/json"} if data else {})})
        answer = connection.getresponse()
        document = json.loads(answer.read())
        self.expect(answer.headers["x-request-id"], request_id)
        return answer.status, document

    def expect(self, found: object, wanted: object) -> None:
        if found != wanted:
            self.wrong.append((self.tenant, found, wanted))

    def round(self, connection: HTTPConnection, number: int) -> None:
        mine = base64.b64encode(f"{self.tenant} {number} ".encode() * (1 + number * 40)).decode()
        context = {"owner": self.tenant, "round": str(number)}
        at, name = f"/v1/tenants/{self.tenant}", f"{self.tenant}-{number:04}"
        _, sealed = self.ask(connection, "POST", f"{at}/encrypt", {"plaintext": mine, "context": context}, f"{name}-e")
        body = {"message": sealed["message"], "context": context}
        self.expect(self.ask(connection, "POST", f"{at}/decrypt", body, f"{name}-d"), (200, {"plaintext": mine}))
        self.expect(self.ask(connection, "GET", f"{at}/key", None, f"{name}-k")[1]["tenant_id"], self.tenant)
        self.expect(self.ask(connection, "POST", f"/v1/tenants/{self.other}/decrypt", body, f"{name}-o")[0], 403)
        items = {"items": [{"plaintext": mine, "context": context}] * 3}
        _, many = self.ask(connection, "POST", f"{at}/encrypt", items, f"{name}-m")
        back = {"items": [{"message": item["message"], "context": context} for item in many["items"]]}
        opened = self.ask(connection, "POST", f"{at}/decrypt", back, f"{name}-b")[1]["items"]
        self.expect(opened, [{"plaintext": mine}] * 3)
        self.message = base64.b64decode(sealed["message"])


def test_sixteen_tenants_at_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        issuer = LocalIssuer.open(data)
        operator = issuer.mint("operator", tenant_id=None, scopes=["platform:operate"])
        for tenant in TENANTS:
            http(server.port, "PUT", f"/v1/tenants/{tenant}", [("Authorization", f"Bearer {operator}")])
        start = threading.Barrier(len(TENANTS))
        scopes = ["data:encrypt", "data:decrypt", "key:read"]
        callers = [
            Caller(server, tenant, issuer.mint(f"app-{tenant}", tenant_id=tenant, scopes=scopes), start)
            for tenant in TENANTS
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert [wrong for caller in callers for wrong in caller.wrong] == []

        # One tenant's message under another's token is no message at all.
        for caller, other in zip(callers, [*callers[1:], callers[0]], strict=True):
            headers = [("Authorization", f"Bearer {other.token}"), ("Content-Type", "application/octet-stream")]
            answer = http(server.port, "POST", f"/v1/tenants/{other.tenant}/decrypt", headers, caller.message)
            assert (answer.status, json.loads(answer.body)["code"]) == (422, "message_invalid")

        assert server.stop() == 0
        for line in server.lines():
            if line["logger"] == "keystead.request" and str(line.get("subject", "")).startswith("app-"):
                own = line["subject"].removeprefix("app-")
                refused = line["status"] == 403
                assert refused or line["tenant"] == own
                assert line["request_id"].startswith(own) or line["status"] == 422
