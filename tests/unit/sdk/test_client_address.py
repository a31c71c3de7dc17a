"""The walk over the chain of proxies: nobody can put an address to the right of one that a proxy of ours wrote."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts.evaluate import evaluator
from pipelines.contracts.rules import Ip, RuleSet
from pipelines.records import Severity
from sdk.client_address import MAX_CHAIN, UNKNOWN, ClientAddress, canonical

OURS = ("10.0.0.0/8", "192.168.7.0/24", "2001:db8:0:1::/64")
RULE = Ip(check="ip", id="ip", field="ip", severity=Severity.CRITICAL, message="is one", owner="o")
JUDGE = evaluator(RuleSet(subject="s", rules=(RULE,)))

proxies = st.one_of(
    *(st.ip_addresses(network=network) for network in OURS),
).map(str)
strangers = (
    st.ip_addresses()
    .filter(lambda a: not any(a in ip_network(n) for n in OURS))
    .filter(lambda a: getattr(a, "ipv4_mapped", None) is None)
    .map(str)
)
anything = st.text(max_size=80)
"""What a client may send."""


def walk(header: str = "x-forwarded-for", *, unix: bool = False, trusted: tuple[str, ...] = OURS) -> ClientAddress:
    networks = [ip_network(n) for n in trusted]
    return ClientAddress(networks, header, trusts_unix_socket=unix)  # type: ignore[arg-type]


def as_list(hops: list[str]) -> str:
    return ", ".join(hops)


def as_forwarded(hops: list[str]) -> str:
    return ", ".join(f'for="[{hop}]:443";proto=https' if ":" in hop else f"For={hop};by=_lb" for hop in hops)


@given(client=strangers, between=st.lists(proxies, max_size=3), peer=proxies)
@pytest.mark.parametrize(("header", "written"), [("x-forwarded-for", as_list), ("forwarded", as_forwarded)])
def test_the_client_is_the_last_address_that_is_none_of_ours(header, written, client, between, peer) -> None:  # type: ignore[no-untyped-def]
    assert walk(header).of(peer, written([client, *between])) == client


@given(forged=anything, client=strangers, between=st.lists(proxies, max_size=3), peer=proxies)
@pytest.mark.parametrize(("header", "written"), [("x-forwarded-for", as_list), ("forwarded", as_forwarded)])
def test_what_the_client_wrote_itself_changes_nothing(header, written, forged, client, between, peer) -> None:  # type: ignore[no-untyped-def]
    assert walk(header).of(peer, f"{forged}, {written([client, *between])}") == client


@given(peer=strangers, forged=anything)
def test_a_stranger_is_not_asked_whom_it_speaks_for(peer: str, forged: str) -> None:
    assert walk().of(peer, forged) == peer
    assert walk(trusted=()).of(peer, "203.0.113.9") == peer


@given(hops=st.lists(proxies, min_size=1, max_size=4), peer=proxies)
def test_when_all_are_ours_it_is_the_first(hops: list[str], peer: str) -> None:
    assert walk().of(peer, as_list(hops)) == hops[0]


@given(peer=anything | st.none() | strangers | proxies, forwarded=anything | st.none() | st.lists(proxies).map(as_list))
@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
@pytest.mark.parametrize("unix", [True, False])
def test_whatever_comes_in_an_address_comes_out(
    unix: bool, header: str, peer: str | None, forwarded: str | None
) -> None:
    assert JUDGE({"ip": walk(header, unix=unix).of(peer, forwarded)}, 0) == []


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("203.0.113.9, unknown", "10.0.0.1"),
        ("203.0.113.9, ", "10.0.0.1"),
        ("203.0.113.9, nonsense, 10.0.0.2", "10.0.0.2"),
        ("203.0.113.9:4711, 10.0.0.2:80", "203.0.113.9"),
        ("[2001:db8::9]:4711, 10.0.0.2", "2001:db8::9"),
        ("2001:DB8:0:0::9,10.0.0.2", "2001:db8::9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, ::ffff:10.9.9.9", "198.51.100.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("203.0.113.09", "10.0.0.1"),
        ("", "10.0.0.1"),
        (None, "10.0.0.1"),
    ],
)
def test_hops(forwarded: str | None, client: str) -> None:
    assert walk().of("10.0.0.1", forwarded) == client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("for=203.0.113.9", "203.0.113.9"),
        ('For="[2001:db8::9]:4711"', "2001:db8::9"),
        ("for=_hidden, for=10.0.0.2", "10.0.0.2"),
        ("for=unknown", "10.0.0.1"),
        ("proto=https", "10.0.0.1"),
        ("for=203.0.113.9;for=198.51.100.1", "10.0.0.1"),
        ("proto=https; for=203.0.113.9 ;host=a", "203.0.113.9"),
        ('for="never closed, for=203.0.113.9', "203.0.113.9"),
    ],
)
def test_elements_of_forwarded(forwarded: str, client: str) -> None:
    assert walk("forwarded").of("10.0.0.1", forwarded) == client


def test_a_socket_without_addresses() -> None:
    assert walk().of(None, "203.0.113.9") == UNKNOWN
    assert walk().of("", "203.0.113.9") == UNKNOWN
    assert walk(unix=True, trusted=()).of("", "203.0.113.9") == "203.0.113.9"
    assert walk(unix=True).of(None, "203.0.113.9, 10.0.0.2") == "203.0.113.9"
    assert walk(unix=True).of("testclient", "203.0.113.9") == UNKNOWN


def test_only_the_end_of_an_endless_header_counts() -> None:
    chain = as_list(["203.0.113.9", *["10.0.0.1"] * MAX_CHAIN])
    assert walk().of("10.0.0.2", chain) == "10.0.0.1"
    cut = f"21.2.3.4, {'1' * (MAX_CHAIN - len('1.2.3.4, '))}"  # the cut falls into the first address
    assert walk().of("10.0.0.2", cut[-MAX_CHAIN - 1 :]) == "10.0.0.2"


@given(st.ip_addresses())
def test_an_address_is_its_own_canonical_form(address: object) -> None:
    text = str(address)
    found = canonical(text)
    assert found is not None
    mapped = getattr(address, "ipv4_mapped", None)
    assert ip_address(found) == (mapped or address)
    assert canonical(f"[{text}]:80") == found if ":" in text else canonical(f"{text}:80") == found


@pytest.mark.parametrize(
    "text", ["", "[", "[::1", "[::1]x", "1.2.3", "1.2.3.4:x", "1.2.3.4:123456", "a.b.c.d", "::g", "%"]
)
def test_what_is_no_address(text: str) -> None:
    assert canonical(text) is None
