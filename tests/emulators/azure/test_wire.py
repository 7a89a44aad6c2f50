"""The server: its certificates and names, who may speak to it, and how it ends."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from azure.core.exceptions import ServiceRequestError
from azure.core.rest import HttpRequest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from core.domain.vaults import CLOUDS
from functions.emulators.azure_wire import AzureEmulatorServer, serve
from tests.emulators.azure.worlds import Sdk, World, unpadded, use

PLAIN = b"k" * 80


def connect(server: AzureEmulatorServer, name: str | None) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=server.ca_file)
    context.check_hostname = name is not None
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    try:
        return context.wrap_socket(raw, server_hostname=name)
    except BaseException:
        raw.close()
        raise


def test_the_certificates(world: World, server: AzureEmulatorServer) -> None:
    ca = x509.load_pem_x509_certificate(Path(server.ca_file).read_bytes())
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    uses = ca.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (uses.key_cert_sign, uses.crl_sign, uses.digital_signature) == (True, True, False)
    with connect(server, "acme-kv.vault.azure.net") as connection:
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    leaf = x509.load_der_x509_certificate(der)
    leaf.verify_directly_issued_by(ca)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {
        "localhost",
        *(cloud.authority for cloud in CLOUDS.values()),
        *(f"*.{domain}" for cloud in CLOUDS.values() for domain in (cloud.vault_domain, cloud.hsm_domain)),
    }
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert (
        leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        == ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    )


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("acme-kv.vault.azure.net", True),
        ("login.microsoftonline.com", True),
        ("login.chinacloudapi.cn", True),
        ("localhost", True),
        ("other.vault.azure.net", False),
        ("evil.example", False),
    ],
)
def test_names_that_lead_nowhere_end_at_the_handshake(
    world: World, server: AzureEmulatorServer, name: str, known: bool
) -> None:
    if known:
        connect(server, name).close()
        return
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        connect(server, name)


def test_a_client_that_does_not_trust_the_authority_does_not_speak(server: AzureEmulatorServer) -> None:
    with requests.Session() as session:
        session.trust_env = False
        with pytest.raises(requests.exceptions.SSLError):
            session.get(f"{server.url}/_emulator/health", timeout=10)


def exchange(server: AzureEmulatorServer, request: str) -> bytes:
    """Send bytes as they are to the machine's own address; what comes back until the end."""
    found = b""
    with connect(server, None) as connection:
        connection.sendall(request.encode())
        while not found.endswith(b"\n") and (part := connection.recv(65536)):
            found += part
    return found


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Host: 127.0.0.1", 200),
        ("Host: localhost:4600", 200),
        ("Host: [::1]:4600", 200),
        ("Host: LOCALHOST", 200),
        ("Host: evil.example", 403),
        ("Host: evil.example:4600", 403),
        ("Host: 127.0.0.1.evil.example", 403),
        ("Host: localhost.evil.example", 403),
        ("Host: ", 403),
        ("X-No-Host: 1", 403),
        ("Host: localhost\r\nOrigin: https://localhost", 403),
        ("Host: localhost\r\nOrigin: null", 403),
        ("Host: other.vault.azure.net", 403),
    ],
)
def test_web_pages_are_refused(server: AzureEmulatorServer, headers: str, status: int) -> None:
    for line, length in (("GET /_emulator/health", ""), ("POST /_emulator/clear-faults", "\r\nContent-Length: 0")):
        answer = exchange(server, f"{line} HTTP/1.1\r\n{headers}{length}\r\nConnection: close\r\n\r\n")
        assert answer.split()[1] == str(status).encode()


def test_the_control_api_is_at_no_name_of_azures(world: World, sdk: Sdk) -> None:
    assert sdk.raw("GET", f"{world.vault}/_emulator/world").status_code == 401
    assert sdk.raw("GET", "https://login.microsoftonline.com/_emulator/world").status_code == 404
    assert sdk.raw("GET", f"{sdk.server.url}/_emulator/world").status_code == 200
    headers = {"Origin": "https://evil.example"}
    assert sdk.raw("GET", f"{world.vault}/keys/kek", headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", "", 411),
        ("PUT", "", 411),
        ("PATCH", "", 411),
        ("GET", "", 404),
        ("DELETE", "", 404),
        ("POST", "Content-Length: x\r\n", 400),
        ("POST", "Content-Length: -1\r\n", 400),
        ("GET", "Content-Length: +1\r\n", 400),
        ("POST", "Content-Length: 1048577\r\n", 413),
        ("POST", f"Content-Length: {'9' * 5000}\r\n", 400),
        ("OPTIONS", "", 501),
    ],
)
def test_lengths_and_methods(server: AzureEmulatorServer, method: str, headers: str, status: int) -> None:
    request = f"{method} /none HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n"
    assert exchange(server, request).split()[1] == str(status).encode()


def test_a_connection_is_used_again(world: World, sdk: Sdk) -> None:
    with requests.Session() as session:
        session.trust_env, session.verify = False, sdk.server.ca_file
        first = session.get(f"{sdk.server.url}/_emulator/health", timeout=10, stream=True)
        used = first.raw.connection.sock.getsockname()
        assert first.json() == {"status": "ok"}
        second = session.get(f"{sdk.server.url}/_emulator/health", timeout=10, stream=True)
        assert second.raw.connection.sock.getsockname() == used
        assert second.json() == {"status": "ok"}


def test_an_empty_answer_leaves_the_connection_usable(world: World, sdk: Sdk) -> None:
    url = world.make_vault("purging", purge_protection=False)
    client = sdk.keys(url, sdk.owner())
    for _ in range(2):
        kid = world.emulator.create_key(url, "kek")
        world.emulator.delete_key(kid)
        client.purge_deleted_key("kek")
    assert [call.status for call in world.emulator.calls if call.operation == "purge"] == [204, 204]
    world.emulator.delete_key(world.emulator.create_key(url, "kek"))
    answer = client.send_request(HttpRequest("DELETE", "/deletedkeys/kek"))
    assert (answer.status_code, "Content-Length" in answer.headers) == (204, False)


def test_the_answers_tell_the_emulators_time(world: World, sdk: Sdk) -> None:
    world.emulator.skew = 3600.0
    for url in (f"{world.vault}/keys", f"{sdk.server.url}/_emulator/health"):
        assert sdk.raw("GET", url).headers["Date"] == "Fri, 15 Jan 2027 09:00:00 GMT"


def test_a_client_that_says_nothing_keeps_nobody_waiting(world: World, sdk: Sdk) -> None:
    with socket.create_connection(("127.0.0.1", sdk.server.port)), connect(sdk.server, None):
        assert sdk.raw("GET", f"{sdk.server.url}/_emulator/health").status_code == 200


def test_what_is_no_handshake_is_let_go(server: AzureEmulatorServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with suppress(ConnectionError):
            while connection.recv(4096):
                pass


def test_many_threads_share_the_server(world: World, sdk: Sdk) -> None:
    kid, client, wrong = world.key(size=2048), sdk.keys(world.vault), []
    client.get_key("kek")
    world.emulator.clear_calls()

    def work(number: int) -> None:
        for turn in range(5):
            plain = f"{number}/{turn}".encode().ljust(80)
            wrapped = unpadded(use(client, kid, "wrapkey", plain)["value"])
            if unpadded(use(client, kid, "unwrapkey", wrapped)["value"]) != plain:
                wrong.append(plain)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert [call.status for call in world.emulator.calls] == [200] * 80


def test_closing_ends_connections_and_frees_the_port(world: World, sdk: Sdk) -> None:
    world.key()
    client, server = sdk.keys(world.vault), sdk.server
    client.get_key("kek")
    hanging = connect(server, None)
    server.close()
    server.close()
    assert hanging.recv(1) == b""
    hanging.close()
    with pytest.raises(ServiceRequestError):
        client.get_key("kek")
    with socket.create_server(("127.0.0.1", server.port)):
        pass
    with serve(world.emulator, server.port) as again:
        assert again.dial == server.dial
        client.get_key("kek")


def test_the_authority_stays_the_emulators(world: World, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    with serve(world.emulator, ca_file=file) as one, serve(world.emulator) as two:
        assert one.ca_file == str(file)
        assert Path(two.ca_file).read_text() == file.read_text() == world.emulator.authority.certificate_pem
    assert file.exists()


def test_a_port_that_is_taken_is_refused(world: World, server: AzureEmulatorServer) -> None:
    with pytest.raises(OSError, match="in use"):
        serve(world.emulator, server.port)


def test_changes_are_told_and_reads_are_not(world: World) -> None:
    told: list[int] = []
    with serve(world.emulator, on_change=lambda: told.append(world.emulator.revision)) as server:
        made = Sdk(server)
        made.raw("GET", f"{server.url}/_emulator/world")
        world.key()
        assert told == []
        made.raw("GET", f"{server.url}/_emulator/health")
        assert told == [world.emulator.revision]
        client = made.keys(world.vault, made.owner())
        client.get_key("kek")
        assert len(told) == 1
        client.update_key_properties("kek", tags={"a": "b"})
        assert told[1:] == [world.emulator.revision]
        made.close()
