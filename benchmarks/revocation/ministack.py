"""Customers of ministack, an AWS of others' making that checks signatures, trust and policies, and the way to it.

`front` stands before it. The service signs with the credentials that this repository's own emulator knows it by; its
calls are signed anew with those of a user in ministack. Refusals get the request id that AWS gives and ministack does
not, without which the service takes an answer for somebody else's, and are noted with their time.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.revocation.acts import Act, OwnKey, Tenant
from benchmarks.revocation.documented import IAM_CHANGED, KMS_CHANGED, KMS_DISABLED, TRUST_CHANGED
from benchmarks.revocation.refusals import Refusals, named
from functions.settings import LOCAL_CREDENTIALS
from tests.aws.accounts import PLATFORM, USER, Customer, document
from tests.aws.ministack import Ministack

CLOUD = "ministack"
_REQUEST_ID = "x-amzn-requestid"
_DROPPED = frozenset({"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"})
_SIGNED_ANEW = frozenset({"authorization", "host", "x-amz-date", "x-amz-security-token"})


@dataclass(frozen=True, slots=True)
class MinistackCustomers:
    """Customers, and the user that the service is there.

    Attributes:
        server: Ministack.
        arn: Of the user.
        access_key: Id and secret of the user's access key.
    """

    server: Ministack
    arn: str
    access_key: tuple[str, str] = field(repr=False)

    @classmethod
    def of(cls, server: Ministack) -> MinistackCustomers:
        """Make the user."""
        iam = server.client("iam", (PLATFORM, "test"))
        arn = iam.create_user(UserName=USER)["User"]["Arn"]
        key = iam.create_access_key(UserName=USER)["AccessKey"]
        may = document({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"})
        iam.put_user_policy(UserName=USER, PolicyName="assume", PolicyDocument=may)
        return cls(server, arn, (key["AccessKeyId"], key["SecretAccessKey"]))

    def made(self, withdraw: Callable[[Customer], None], give_back: Callable[[Customer], None]) -> Make:
        """How a tenant gets a key behind a role, to be withdrawn so."""

        def make(tenant: Tenant) -> OwnKey:
            # Ministack never matches a condition on the encryption context, so these policies have none.
            tenant.operator.update_tenant(tenant.id, accept_unbound_policy=True)
            external_id = tenant.client.key_setup(tenant.id, "aws_kms").external_id
            customer = Customer(self.server, self.arn, f"role-of-{tenant.id}", external_id)
            customer.set_up()
            target = {"provider": "aws_kms", "key_arn": customer.key_arn, "role_arn": customer.role_arn}
            names = frozenset({customer.key_arn, customer.role_arn})
            return OwnKey(target, names, lambda: withdraw(customer), lambda: give_back(customer))

        return make


Make = Callable[[Tenant], OwnKey]


def acts(customers: MinistackCustomers) -> tuple[Act, ...]:
    """Every way whose consequences ministack enforces."""
    made = customers.made
    return (
        Act("key disabled", "ms-disabled", CLOUD, made(Customer.disable, Customer.enable), KMS_DISABLED),
        Act(
            "deletion scheduled",
            "ms-scheduled",
            CLOUD,
            made(Customer.schedule_deletion, Customer.cancel_deletion),
            KMS_CHANGED,
            cause="pending_deletion",
        ),
        Act(
            "key policy denies",
            "ms-denied",
            CLOUD,
            made(Customer.deny_in_key_policy, Customer.restore_key_policy),
            KMS_CHANGED,
            cause="policy",
        ),
        Act(
            "trust policy changed",
            "ms-untrusted",
            CLOUD,
            made(Customer.change_trust, Customer.restore_trust),
            TRUST_CHANGED,
            cause="identity",
        ),
        Act(
            "role deleted",
            "ms-role-deleted",
            CLOUD,
            made(Customer.delete_role, Customer.restore_role),
            IAM_CHANGED,
            cause="identity",
        ),
    )


@contextmanager
def front(customers: MinistackCustomers, refusals: Refusals) -> Iterator[str]:
    """Stand before ministack as long as the block lasts; gives the URL to use instead.

    Args:
        customers: Whose server it is.
        refusals: Where the times of refusals go.
    """
    upstream = urlsplit(customers.server.url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = dict(self.headers)
            if f"Credential={LOCAL_CREDENTIALS[0]}/" in headers.get("Authorization", ""):
                headers = _signed(headers, f"http://{upstream}{self.path}", body, customers.access_key)
            connection = HTTPConnection(upstream, timeout=30)
            try:
                connection.request("POST", self.path, body, headers)
                answer = connection.getresponse()
                content, found = answer.read(), dict(answer.getheaders())
            finally:
                connection.close()
            if answer.status >= 400:
                refusals.note(_about(body))
                if _REQUEST_ID not in {name.lower() for name in found}:
                    found[_REQUEST_ID] = str(uuid4())
            self.send_response(answer.status)
            for name, value in found.items():
                if name.lower() not in _DROPPED:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _signed(headers: dict[str, str], url: str, body: bytes, access_key: tuple[str, str]) -> dict[str, str]:
    # Credential=<id>/<date>/<region>/<service>/aws4_request
    scope = headers["Authorization"].partition("Credential=")[2].partition(",")[0].split("/")
    kept = {name: value for name, value in headers.items() if name.lower() not in _SIGNED_ANEW}
    request = AWSRequest("POST", url, headers=kept, data=body)
    SigV4Auth(Credentials(*access_key), scope[3], scope[2]).add_auth(request)
    return dict(request.headers.items())


def _about(body: bytes) -> str:
    try:
        return named(json.loads(body))
    except ValueError:
        return named(dict(parse_qsl(body.decode("utf-8", "replace"))))
