"""Addresses of vaults that must never pass: what an attacker would try."""

from __future__ import annotations

GOOD = "https://acme-kv.vault.azure.net"

HOSTILE_VAULTS: tuple[str, ...] = (
    # nothing, and not an address
    *("", " ", "acme-kv", "acme-kv.vault.azure.net", "//acme-kv.vault.azure.net", "https:", "https://", "https:///"),
    # schemes
    *("http://acme-kv.vault.azure.net", "HTTPS://acme-kv.vault.azure.net", "https:acme-kv.vault.azure.net"),
    *("https:/acme-kv.vault.azure.net", "https:///acme-kv.vault.azure.net", "ftp://acme-kv.vault.azure.net"),
    *("file:///etc/passwd", "gopher://acme-kv.vault.azure.net", "https+unix://acme-kv.vault.azure.net"),
    *(
        "javascript:https://acme-kv.vault.azure.net",
        "wss://acme-kv.vault.azure.net",
        "httpsx://acme-kv.vault.azure.net",
    ),
    # userinfo
    *("https://user@acme-kv.vault.azure.net", "https://user:password@acme-kv.vault.azure.net"),
    *("https://acme-kv.vault.azure.net@evil.example", "https://acme-kv.vault.azure.net:443@evil.example"),
    *("https://@acme-kv.vault.azure.net", "https://:@acme-kv.vault.azure.net", "https://evil.example@"),
    # ports
    *(f"{GOOD}:443", f"{GOOD}:8443", f"{GOOD}:", f"{GOOD}:0", f"{GOOD}:443/", f"{GOOD}:22"),
    # paths, queries, fragments
    *(
        f"{GOOD}//",
        f"{GOOD}/x",
        f"{GOOD}/..",
        f"{GOOD}/../evil.example",
        f"{GOOD}/%2e%2e",
        f"{GOOD}/keys/",
        f"{GOOD}/;x",
    ),
    *(
        f"{GOOD}?x=y",
        f"{GOOD}/?x=y",
        f"{GOOD}#x",
        f"{GOOD}/#x",
        f"{GOOD}?",
        f"{GOOD}#@evil.example",
        f"{GOOD}?@evil.example",
    ),
    *(
        "https://evil.example/.vault.azure.net",
        "https://evil.example?.vault.azure.net",
        "https://evil.example#.vault.azure.net",
    ),
    *(
        "https://evil.example/acme-kv.vault.azure.net",
        "https://evil.example;.vault.azure.net",
        "https://evil.example%2f.vault.azure.net",
    ),
    # addresses of machines, in every notation
    *(
        "https://127.0.0.1",
        "https://2130706433",
        "https://0x7f000001",
        "https://0177.0.0.1",
        "https://127.1",
        "https://0",
    ),
    *("https://[::1]", "https://[::ffff:127.0.0.1]", "https://[fd00:ec2::254]", "https://::1", "https://10.0.0.1"),
    *("https://169.254.169.254", "https://169.254.169.254/metadata/identity/oauth2/token", "https://2852039166"),
    *(
        "https://168.63.129.16",
        "https://100.100.100.200",
        "https://0xa9.0xfe.0xa9.0xfe",
        "https://127.0.0.1.vault.azure.net",
    ),
    *(
        "https://1.2.3.4.vault.azure.net",
        "https://127-0-0-1.vault.azure.net",
        "https://127.0.0.1.nip.io",
        "https://localhost",
    ),
    *("https://metadata.google.internal", "https://metadata", "https://localhost.vault.azure.net.localhost"),
    # dots
    *(
        f"{GOOD}.",
        f"{GOOD}./",
        "https://.vault.azure.net",
        "https://acme-kv..vault.azure.net",
        "https://acme-kv.vault.azure..net",
    ),
    *("https://acme-kv.vault.azure.net..", "https://..vault.azure.net", "https://acme-kv.vault.azure.net.\u3002"),
    # parents, children and neighbours of the domains
    *(
        "https://vault.azure.net",
        "https://azure.net",
        "https://managedhsm.azure.net",
        "https://net",
        "https://acme-kv.azure.net",
    ),
    *(
        "https://evil.acme-kv.vault.azure.net",
        "https://acme-kv.privatelink.vaultcore.azure.net",
        "https://acme-kv.vaultcore.azure.net",
    ),
    *("https://acme-kv.vault.azure.net.evil.example", "https://acme-kv.vault.azure.net.vault.azure.net"),
    *("https://acme-kv.vault.azure.com", "https://acme-kv.vault.azure.network", "https://acme-kv.vault.azure.ne"),
    *("https://acme-kv.vaults.azure.net", "https://acme-kvvault.azure.net", "https://acme-kv-vault.azure.net"),
    *("https://acme-kv.evilvault.azure.net", "https://acme-kv.vault-azure.net", "https://acme-kv.vault.azurenet"),
    *(
        "https://acme-kv.vault.usgovcloudapi.com",
        "https://acme-kv.vault.azure.us",
        "https://acme-kv.vault.microsoftazure.de",
    ),
    *(
        "https://acme-kv.blob.core.windows.net",
        "https://acme-kv.scm.azurewebsites.net",
        "https://login.microsoftonline.com",
    ),
    *(
        "https://acme-kv.vault.azure.net.cn",
        "https://acme-kv.managedhsm.azure.com",
        "https://acme-kv.management.azure.net",
    ),
    # letters that look alike, and what browsers make of them
    *(
        "https://acme-kv.v\u0430ult.azure.net",
        "https://\u0430cme-kv.vault.azure.net",
        "https://acme-kv.vault.\u0430zure.net",
    ),
    *(
        "https://acme-kv\u3002vault\u3002azure\u3002net",
        "https://acme-kv\uff0evault.azure.net",
        "https://acme-kv.vault.azure\uff61net",
    ),
    *(
        "\uff48ttps://acme-kv.vault.azure.net",
        "https://acme-kv.\uff56ault.azure.net",
        "https:\u2215\u2215acme-kv.vault.azure.net",
    ),
    *(
        "https://acme-\u212av.vault.azure.net",
        "https://acme-kv.vault.azure.net\uff0f",
        "https://acme\u2010kv.vault.azure.net",
    ),
    *(
        "https://xn--acme-kv.vault.azure.net",
        "https://acme-kv.xn--vault-9d.azure.net",
        "https://\u24d0cme.vault.azure.net",
    ),
    *(
        "https://evil.example\u2044.vault.azure.net",
        "https://\u017facme-kv.vault.azure.net",
        "https://acme-kv\u00ad.vault.azure.net",
    ),
    *(
        "https://acme-kv\u200b.vault.azure.net",
        "https://\u202eacme-kv.vault.azure.net",
        "https://acme\u0301-kv.vault.azure.net",
    ),
    "https://\u0661\u0662\u0663-kv.vault.azure.net",
    # characters that split requests, or that parsers read in their own ways
    *(
        f"{GOOD}\n",
        f"{GOOD}\r\n",
        f"\n{GOOD}",
        f" {GOOD}",
        f"{GOOD} ",
        f"{GOOD}\t",
        f"\t{GOOD}",
        f"{GOOD}\x00",
        f"{GOOD}\x0b",
    ),
    *(
        f"{GOOD}\r\nHost: evil.example",
        "https://acme-kv.vault.azure.net\x00.evil.example",
        "https://acme kv.vault.azure.net",
    ),
    *(
        "https://acme-kv\t.vault.azure.net",
        "https://acme-\nkv.vault.azure.net",
        f"{GOOD}\x7f",
        f"{GOOD}\x85",
        f"{GOOD}\u2028",
    ),
    *(
        "https:\\\\acme-kv.vault.azure.net",
        "https://evil.example\\.vault.azure.net",
        "https://evil.example\\@acme-kv.vault.azure.net",
    ),
    *(
        f"{GOOD}\\",
        f"{GOOD}\\@evil.example",
        "https:/\\acme-kv.vault.azure.net",
        "https://acme-kv.vault.azure.net\\.evil.example",
    ),
    *("https://acme%2dkv.vault.azure.net", "https://acme-kv%2evault.azure.net", "https://acme-kv.vault.azure.net%00"),
    *(
        "https://acme-kv.vault.azure.net%23.evil.example",
        "https://%61cme-kv.vault.azure.net",
        "https://acme-kv.vault.azure.net%0d%0a",
    ),
    *(
        "https://acme-kv.vault.azure.net,evil.example",
        "https://acme-kv.vault.azure.net|evil.example",
        "https://*.vault.azure.net",
    ),
    *(
        "https://{acme}.vault.azure.net",
        "https://$(id).vault.azure.net",
        "https://acme'kv.vault.azure.net",
        "https://<kv>.vault.azure.net",
    ),
    *("https://[acme-kv].vault.azure.net", "https://acme_kv.vault.azure.net", "https://acme-kv.vault.azure.net&x"),
    # names that no vault has
    *(
        "https://a.vault.azure.net",
        "https://ab.vault.azure.net",
        "https://1acme.vault.azure.net",
        "https://-acme.vault.azure.net",
    ),
    *("https://acme-.vault.azure.net", "https://ac--me.vault.azure.net", f"https://{'a' * 25}.vault.azure.net"),
    *(
        f"https://{'a-' * 12}ab.vault.azure.net",
        f"https://{'a' * 63}.vault.azure.net",
        f"https://{'a' * 100_000}.vault.azure.net",
    ),
    *(
        f"{GOOD}/{'a' * 100_000}",
        "https://" + "a." * 50_000 + "vault.azure.net",
        "https://" + "@" * 50_000,
        f"{GOOD}, {GOOD}",
    ),
)
