"""What each kind of NAT does, and the nftables rules that make the kernel do it.

The words are those of RFC 4787: a mapping or a filtering is independent of the other endpoint,
dependent on its address, or on its address and port. W is the NAT's outer address. A router has
the interfaces `wan` and `lan`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

DEFAULT_TIMEOUT_S = 300
"""How long a cone lets packets in without one from inside, unless told otherwise."""

FLOWS_PER_SECOND = 50
"""What a flow-limited NAT lets through."""

FIRST_PORT = 40000
"""Where a sequential NAT with step 1, and one that hashes, begin to count."""

POOL = 512
"""How many ports the former has."""

HASHED_POOL = 16_384
"""How many the latter has; more, because of two flows with the same port one stays without."""


class Kind(StrEnum):
    """What stands between a host and the public network."""

    OPEN = "open"
    FIREWALL = "firewall"
    FULL_CONE = "full-cone"
    HAIRPIN = "hairpin"
    RESTRICTED = "restricted"
    PORT_RESTRICTED = "port-restricted"
    FRAGILE = "fragile"
    SYMMETRIC_RANDOM = "symmetric-random"
    SYMMETRIC_STEP_1 = "symmetric-step-1"
    SYMMETRIC_STEP_256 = "symmetric-step-256"
    ADDRESS_DEPENDENT = "address-dependent"
    FLOW_LIMITED = "flow-limited"
    BANNING = "banning"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class Behaviour:
    """What a diagnosis should find out about a kind."""

    mapping: str
    """"EIM", "ADM" or "APDM", or "none" without address translation."""
    filtering: str
    """"EIF", "ADF" or "APDF"."""
    ports: str
    """"preserved", "random", "step 1", "step 256" or "hash"."""
    hairpin: bool = False
    """Whether two hosts inside reach each other through W."""
    udp: bool = True
    """Whether UDP passes at all."""
    findings: tuple[str, ...] = ()
    """What a person must know of beside."""

    @property
    def translates(self) -> bool:
        return self.mapping != "none"


KINDS: Mapping[Kind, Behaviour] = MappingProxyType(
    {
        # Without translation two hosts inside reach each other: there is no W in between.
        Kind.OPEN: Behaviour("none", "EIF", "preserved", hairpin=True),
        Kind.FIREWALL: Behaviour("none", "APDF", "preserved", hairpin=True),
        Kind.FULL_CONE: Behaviour("EIM", "EIF", "preserved"),
        Kind.HAIRPIN: Behaviour("EIM", "EIF", "preserved", hairpin=True),
        Kind.RESTRICTED: Behaviour("EIM", "ADF", "preserved"),
        Kind.PORT_RESTRICTED: Behaviour("EIM", "APDF", "preserved"),
        # As Linux does it with nothing but masquerade: whoever is heard from before the host
        # inside has sent takes the port, and the mapping towards him moves to another.
        Kind.FRAGILE: Behaviour("EIM", "APDF", "preserved"),
        Kind.SYMMETRIC_RANDOM: Behaviour("APDM", "APDF", "random"),
        Kind.SYMMETRIC_STEP_1: Behaviour("APDM", "APDF", "step 1"),
        Kind.SYMMETRIC_STEP_256: Behaviour("APDM", "APDF", "step 256"),
        Kind.ADDRESS_DEPENDENT: Behaviour("ADM", "APDF", "hash"),
        Kind.FLOW_LIMITED: Behaviour("EIM", "APDF", "preserved", findings=("limits new flows",)),
        Kind.BANNING: Behaviour("EIM", "APDF", "preserved", findings=("bans unasked senders",)),
        Kind.BLOCKED: Behaviour("EIM", "APDF", "preserved", udp=False),
    }
)

_CONES = {Kind.FULL_CONE, Kind.HAIRPIN, Kind.RESTRICTED}

BAN_S = 60
"""So long a banning NAT lets nothing in from whoever sent unasked."""

_BANS = f"""
  set banned {{ type ipv4_addr; flags dynamic,timeout; timeout {BAN_S}s; size 65536; }}
  chain ban {{
    type filter hook input priority -10;
    iif "wan" udp dport 1024-65535 ct state new update @banned {{ ip saddr timeout {BAN_S}s }} drop
  }}
  chain banned_senders {{
    type filter hook prerouting priority -300;
    iif "wan" ip saddr @banned drop
  }}
"""

# On the way in only: a packet that nobody inside has asked for leaves no trace.
_UNSOLICITED = """
  chain unsolicited {
    type filter hook input priority 0;
    iif != "lo" udp dport 1024-65535 ct state new drop
  }
"""


def ruleset(
    kind: Kind,
    outer: str,
    timeout_s: int = DEFAULT_TIMEOUT_S,
    flows_per_second: int = FLOWS_PER_SECOND,
) -> str:
    """The rules of a router of this kind, as `nft -f` reads them; "" for none.

    `outer` is W; `timeout_s` holds for the cones' own memory of who may come in, and
    `flows_per_second` for a flow-limited NAT.
    """
    if kind is Kind.OPEN:
        return ""
    if kind is Kind.FIREWALL:
        return _forward('iif "wan" ct state new drop')
    tables = [f"table ip nat {{{_post(kind, outer)}"]
    if kind is not Kind.FRAGILE:
        tables.append(_UNSOLICITED)
    if kind is Kind.BANNING:
        tables.append(_BANS)
    if kind in _CONES:
        tables.append(_cone(kind, outer, timeout_s))
    tables.append("}\n")
    if kind is Kind.FLOW_LIMITED:
        limit = f"limit rate over {flows_per_second}/second drop"
        # Not `ct state new`: that is every packet until the first answer.
        tables.append(_forward(f'iif "lan" ct status and confirmed != confirmed {limit}'))
    if kind is Kind.BLOCKED:
        tables.append(_forward("meta l4proto udp drop"))
    return "".join(tables)


def loss(percent: float) -> str:
    """Drop so many of the packets on the outer line, each way; replaces what was said before.

    On the line and not in the forward chain: what is lost beyond a NAT has opened a mapping.
    """
    table = "table netdev loss\ndelete table netdev loss\n"
    if not percent:
        return table
    chance = "" if percent >= 100 else f"numgen random mod 1000 < {round(percent * 10)} "
    drop = f"meta protocol {{ ip, ip6 }} {chance}drop"
    chains = "".join(
        f'  chain {hook} {{\n    type filter hook {hook} device "wan" priority 0;\n'
        f"    {drop}\n  }}\n"
        for hook in ("ingress", "egress")
    )
    return f"{table}table netdev loss {{\n{chains}}}\n"


BLOCKS = """
table inet block {
  set pairs { type ipv4_addr . ipv4_addr; }
  set pairs6 { type ipv6_addr . ipv6_addr; }
  chain forward {
    type filter hook forward priority 0;
    ip saddr . ip daddr @pairs drop
    ip6 saddr . ip6 daddr @pairs6 drop
  }
}
"""
"""The public network's rules: pairs of addresses whose packets to each other are dropped."""


GUARD6 = """
table ip6 guard {
  chain forward {
    type filter hook forward priority 0;
    iif "wan" ct state new drop
  }
}
"""
"""A router's rules for IPv6: no translation, but nothing unasked."""


def _forward(rule: str) -> str:
    return (
        "table inet filter {\n  chain forward {\n"
        f"    type filter hook forward priority 0;\n    {rule}\n  }}\n}}\n"
    )


def _post(kind: Kind, outer: str) -> str:
    udp = {
        Kind.SYMMETRIC_RANDOM: "masquerade fully-random",
        Kind.SYMMETRIC_STEP_1: _from_pool("numgen inc", outer, FIRST_PORT, 1, POOL),
        # 16384 to 65280.
        Kind.SYMMETRIC_STEP_256: _from_pool("numgen inc", outer, 64 * 256, 256, 192),
        Kind.ADDRESS_DEPENDENT: _from_pool(
            "jhash ip daddr . udp sport", outer, FIRST_PORT, 1, HASHED_POOL, " seed 0x5eed"
        ),
    }.get(kind, "masquerade")
    hairpin = f'iif "lan" oif "lan" ct status dnat snat to {outer}' if kind is Kind.HAIRPIN else ""
    return f"""
  chain post {{
    type nat hook postrouting priority srcnat;
    {hairpin}
    oif "wan" meta l4proto udp {udp}
    oif "wan" masquerade
  }}
"""


def _from_pool(choice: str, outer: str, first: int, step: int, size: int, seed: str = "") -> str:
    # A map, and not arithmetic: nft hands numbers to `snat` in the machine's byte order.
    ports = ", ".join(f"{n} : {outer} . {first + n * step}" for n in range(size))
    return f"snat ip addr . port to {choice} mod {size}{seed} map {{ {ports} }}"


def _cone(kind: Kind, outer: str, timeout_s: int) -> str:
    # Learnt in a filter chain: a nat chain sees only the first packet of a flow, and the entry
    # would die under a keepalive. And after the translation: of two hosts with the same port the
    # second has another outside.
    memory = f"flags dynamic,timeout; timeout {timeout_s}s; size 65536;"
    seen = kind is Kind.RESTRICTED
    learn = "\n".join(
        f'    iif "lan" oif "wan" meta l4proto udp ct direction {direction} '
        f"update @inside {{ udp sport timeout {timeout_s}s : {host} }}"
        for direction, host in (
            ("original", "ct original ip saddr . ct original proto-src"),
            ("reply", "ct reply ip saddr . ct reply proto-src"),
        )
    )
    if seen:
        learn += (
            '\n    iif "lan" oif "wan" meta l4proto udp '
            f"update @seen {{ udp sport . ip daddr timeout {timeout_s}s }}"
        )
    arriving = f"ip daddr {outer}" if kind is Kind.HAIRPIN else 'iif "wan"'
    known = "udp dport . ip saddr @seen" if seen else ""
    return f"""
  map inside {{ type inet_service : ipv4_addr . inet_service; {memory} }}
  set seen {{ type inet_service . ipv4_addr; {memory} }}
  chain learn {{
    type filter hook postrouting priority 110;
{learn}
  }}
  chain pre {{
    type nat hook prerouting priority dstnat;
    {arriving} meta l4proto udp {known} dnat to udp dport map @inside
  }}
"""
