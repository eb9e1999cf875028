#!/bin/sh
# A small internet on this machine: a server, and alice and bob, each behind a NAT of their own.
#
#     docs/laboratory.sh                                   a shell in it
#     docs/laboratory.sh symmetric                         alice's NAT is symmetric
#     docs/laboratory.sh symmetric symmetric COMMAND...    bob's too; one command instead of a shell
#
# Inside, `on alice COMMAND...` runs a command on alice's machine. The script needs Linux with iproute2,
# nftables and util-linux. Where the kernel lets users make namespaces it needs no root. It touches
# nothing outside, and is gone when its shell ends, with everything that still runs on its machines.
set -eu

if [ -z "${LABORATORY:-}" ]; then
    for tool in ip nft unshare nsenter; do
        if ! PATH=$PATH:/usr/sbin:/sbin command -v $tool >/dev/null; then
            echo "laboratory: $tool is missing: install iproute2, nftables and util-linux" >&2
            exit 1
        fi
    done
    as_user=--map-root-user
    if [ "$(id -u)" = 0 ]; then as_user=; fi
    if ! unshare $as_user --net --mount true 2>/dev/null; then
        echo "laboratory: only root may make network namespaces here: sudo -E env PATH=\"\$PATH\" $0" >&2
        exit 1
    fi
    LABORATORY=yes exec unshare $as_user --net --mount "$0" "$@"
fi

unset LABORATORY
PATH=$PATH:/usr/sbin:/sbin
nat_of_alice=${1:-port-restricted}
nat_of_bob=${2:-port-restricted}
[ $# -lt 2 ] || shift
[ $# -lt 1 ] || shift

# What is in /run is hidden from here on, so that nothing is left of the names below.
mount -t tmpfs -o mode=755 laboratory /run
mkdir /run/netns /run/bin
echo "127.0.0.1 localhost
5.0.0.10 server.example" >/run/hosts
mount --bind /run/hosts /etc/hosts
ip link set lo up
ip link add internet type bridge mcast_snooping 0
ip link set internet up

# plug NAME INTERFACE ADDRESS: connects a machine to the internet.
plug() {
    ip netns add "$1"
    ip link add "$2" netns "$1" type veth peer name "to-$1"
    ip link set "to-$1" master internet up
    ip -n "$1" link set lo up
    ip -n "$1" address add "$3" dev "$2"
    ip -n "$1" link set "$2" up
}

# behind NAME NUMBER NAT: a machine behind a NAT, which lets in only what answers.
behind() {
    plug "nat-$1" wan "5.0.0.$2/24"
    ip netns add "$1"
    ip link add eth0 netns "$1" type veth peer name lan netns "nat-$1"
    ip -n "nat-$1" address add 192.168.1.1/24 dev lan
    ip -n "nat-$1" link set lan up
    ip -n "$1" link set lo up
    ip -n "$1" address add 192.168.1.2/24 dev eth0
    ip -n "$1" link set eth0 up
    ip -n "$1" route add default via 192.168.1.1
    nsenter --net="/run/netns/nat-$1" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    case $3 in
    port-restricted) ports= ;;
    symmetric) ports=fully-random ;;
    *)
        echo "laboratory: a NAT is port-restricted or symmetric, not $3" >&2
        exit 2
        ;;
    esac
    nsenter --net="/run/netns/nat-$1" nft -f - <<RULES
table ip nat {
  chain post { type nat hook postrouting priority srcnat; oif "wan" masquerade $ports; }
  chain unsolicited { type filter hook input priority 0; iif "wan" ct state new drop; }
}
RULES
}

plug server eth0 5.0.0.10/24
ip -n server address add 5.0.0.11/24 dev eth0 # a STUN server with two addresses tells more
behind alice 20 "$nat_of_alice"
behind bob 30 "$nat_of_bob"

# Each machine has folders of its own, so each node has an identity of its own.
cat >/run/bin/on <<'ON'
#!/bin/sh
where=$1
shift
for kind in DATA STATE CONFIG CACHE; do
    export "XDG_${kind}_HOME=/run/home/$where/$kind"
done
exec nsenter --net="/run/netns/$where" "$@"
ON
chmod +x /run/bin/on
PATH=/run/bin:$PATH

# end SIGNAL: sends it to all that runs on the machines; false if there was nothing.
end() {
    running=$(for machine in server alice bob; do ip netns pids $machine; done)
    [ -n "$running" ] && kill "-$1" $running 2>/dev/null
}

# Nodes get two seconds to say goodbye.
leave() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        end TERM || return 0
        sleep 0.2
    done
    end KILL || true
}
trap leave EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

if [ $# -gt 0 ]; then
    "$@"
    exit
fi
echo "server.example is 5.0.0.10; alice is behind 5.0.0.20 ($nat_of_alice), bob behind 5.0.0.30 ($nat_of_bob)"
echo 'try: on server p2ptui --no-ui -a 5.0.0.10:8080; leave with exit'
"${SHELL:-/bin/sh}"
