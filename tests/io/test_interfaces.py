import ipaddress
import socket
from pathlib import Path

import ifaddr
import pytest

from p2ptui.core.traversal.own_networks import Link
from p2ptui.io import interfaces
from p2ptui.io.interfaces import attached, broadcast_addresses, local_addresses, local_networks


def adapters(*ips):
    """What ifaddr would list: an adapter with these (address, prefix) pairs."""
    listed = [ifaddr.IP(ip, prefix, "eth0") for ip, prefix in ips]
    return lambda: [ifaddr.Adapter("eth0", "eth0", listed, index=2)]


def test_this_machine_has_its_loopback():
    assert "127.0.0.1" in local_addresses()
    assert ipaddress.ip_network("127.0.0.0/8") in local_networks()
    assert not any(host.startswith("127.") for host in broadcast_addresses())


def test_each_subnet_is_listed_once_with_its_broadcast_address(monkeypatch):
    monkeypatch.setattr(
        ifaddr,
        "get_adapters",
        adapters(
            ("192.168.1.5", 24),
            ("192.168.1.6", 24),
            ("10.1.2.3", 20),
            ("198.51.100.0", 31),
            ("203.0.113.7", 32),
            (("2001:db8::5", 0, 0), 64),
        ),
    )
    assert local_addresses()[:3] == ["192.168.1.5", "192.168.1.6", "10.1.2.3"]
    assert [str(network) for network in local_networks()] == [
        "192.168.1.0/24",
        "10.1.0.0/20",
        "198.51.100.0/31",
        "203.0.113.7/32",
        "2001:db8::/64",
        "127.0.0.0/8",
        "::1/128",
    ]
    assert broadcast_addresses() == ["192.168.1.255", "10.1.15.255"]


def test_a_link_local_address_names_its_interface_and_its_subnet_does_not(monkeypatch):
    monkeypatch.setattr(socket, "if_indextoname", {2: "eth0"}.__getitem__)
    monkeypatch.setattr(ifaddr, "get_adapters", adapters((("fe80::1", 0, 2), 64)))
    assert local_addresses() == ["fe80::1%eth0", "127.0.0.1", "::1"]
    assert ipaddress.ip_network("fe80::/64") in local_networks()


def test_an_interface_without_a_name_is_its_index(monkeypatch):
    def unknown(index):
        raise OSError("no interface with this index")

    monkeypatch.setattr(socket, "if_indextoname", unknown)
    assert interfaces.interface_name(7) == "7"


@pytest.mark.parametrize("failure", [OSError("no netlink"), ValueError("odd"), KeyError("odder")])
def test_a_machine_that_cannot_list_its_interfaces_has_its_loopback(monkeypatch, failure):
    def fail():
        raise failure

    monkeypatch.setattr(ifaddr, "get_adapters", fail)
    assert local_addresses() == ["127.0.0.1", "::1"]
    assert [str(network) for network in local_networks()] == ["127.0.0.0/8", "::1/128"]
    assert broadcast_addresses() == []


def test_an_address_that_makes_no_sense_is_a_failure_too(monkeypatch):
    monkeypatch.setattr(ifaddr, "get_adapters", adapters(("not an address", 24)))
    assert local_addresses() == ["127.0.0.1", "::1"]


def machine(monkeypatch: pytest.MonkeyPatch, **listed: list[tuple[object, int]]) -> None:
    """The interfaces of a machine, in the order of the system; `_` stands for `-`."""
    adapters = [
        ifaddr.Adapter(name, name, [ifaddr.IP(ip, prefix, name) for ip, prefix in addresses])
        for name, addresses in ((key.replace("_", "-"), ips) for key, ips in listed.items())
    ]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
    monkeypatch.setattr(interfaces, "_ipv6_flags", dict)


def test_what_faces_the_others_comes_first_and_bridges_and_tunnels_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(
        monkeypatch,
        lo=[("127.0.0.1", 8)],
        tun0=[("10.8.0.2", 24)],
        docker0=[("172.17.0.1", 16)],
        br_0123456789ab=[("172.18.0.1", 16)],
        wlan0=[("192.168.2.2", 24)],
        eth0=[
            ("192.168.1.2", 24),
            (("2a01:1::2", 0, 0), 64),
            (("fe80::1", 0, 3), 64),
            ("192.168.1.3", 24),
        ],
        wg0=[("10.9.0.2", 24)],
        veth1=[("172.19.0.1", 16)],
    )

    found = attached({"192.168.1.3", "2a01:1::2"})

    assert [(one.host, one.link) for one in found] == [
        ("2a01:1::2", Link.FACING),
        ("192.168.1.3", Link.FACING),
        ("192.168.1.2", Link.FACING),
        ("192.168.2.2", Link.PHYSICAL),
        ("172.17.0.1", Link.BRIDGE),
        ("172.18.0.1", Link.BRIDGE),
        ("172.19.0.1", Link.BRIDGE),
        ("10.8.0.2", Link.TUNNEL),
        ("10.9.0.2", Link.TUNNEL),
    ]
    assert str(found[0].network) == "2a01:1::/64"


def test_a_bridge_or_a_tunnel_that_faces_the_others_comes_first_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine whose virtual machines are on the LAN, or all of whose traffic takes a VPN."""
    for name in ("br_lan", "wg0"):
        machine(monkeypatch, docker0=[("172.17.0.1", 16)], **{name: [("192.168.1.2", 24)]})

        assert [one.host for one in attached({"192.168.1.2"})] == ["192.168.1.2", "172.17.0.1"]


def test_old_ipv6_addresses_come_after_others_and_unsettled_ones_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    six = [((host, 0, 0), 64) for host in ("2a01::1", "2a01::2", "2a01::3", "2a01::4")]
    machine(monkeypatch, eth0=[*six, ("192.168.1.2", 24)], docker0=[("172.17.0.1", 16)])
    flags = {"2a01::1": 0x20, "2a01::2": 0x40, "2a01::3": 0x08, "2a01::4": 0x01}
    monkeypatch.setattr(interfaces, "_ipv6_flags", lambda: flags)

    hosts = [one.host for one in attached({"192.168.1.2"})]

    # The one that is temporary (0x01) is in use, and as good as any.
    assert hosts == ["192.168.1.2", "2a01::4", "2a01::1", "172.17.0.1"]


def test_the_flags_of_ipv6_addresses_are_read_where_the_system_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = tmp_path / "if_inet6"
    monkeypatch.setattr(interfaces, "_IPV6_FLAGS", table)
    assert interfaces._ipv6_flags() == {}

    table.write_text("2a010000000000000000000000000001 02 40 00 20     eth0\n")
    assert interfaces._ipv6_flags() == {"2a01::1": 0x20}

    table.write_text("what is this\n")
    assert interfaces._ipv6_flags() == {}
