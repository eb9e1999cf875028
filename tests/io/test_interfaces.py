import ipaddress
import socket

import ifaddr
import pytest

from p2ptui.io import interfaces
from p2ptui.io.interfaces import broadcast_addresses, local_addresses, local_networks


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
