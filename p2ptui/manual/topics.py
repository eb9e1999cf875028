"""What `p2ptui help TOPIC` explains besides the commands: a screen each; also in the manual."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Topic:
    """A page of the help."""

    summary: str
    """What it is about, for the list of topics."""
    text: str
    """Lines of at most 79 characters, in paragraphs; what is indented stays as it is."""


TOPICS: Final[Mapping[str, Topic]] = {
    "addresses": Topic(
        "how to name a node or a server",
        """\
An address is HOST:PORT. The host may be a name, an IPv4 address, or an IPv6
address in brackets. A link-local address needs its interface.

  server.example:8080    192.0.2.7:8080    [2001:db8::7]:8080
  [fe80::1%eth0]:8080

HOST:PORT#ID accepts only the node with that id. Use it when you know which
node must answer there: any other is refused.

If you join a server, you can name its nodes instead: by id, by the first four
or more characters of the id, or by name.

  p2ptui ping alice --join server.example:8080

If --join is given several times, the servers are asked in that order. All
addresses of a host name are tried, IPv4 and IPv6.

Names are not unique, and anybody can use any name; see p2ptui help trust.
""",
    ),
    "cluster": Topic(
        "several servers that share one network",
        """\
A network can have several servers: to survive the loss of one, for several
sites, or for more than about 10,000 nodes. They share their lists of nodes
through a NATS broker with JetStream, so that nodes at different servers can
find and reach each other.

  p2ptui --no-ui -a 0.0.0.0:8080 --cluster nats://127.0.0.1:4222

This needs the NATS client: in a checkout, pip install '.[cluster]'. A single
server needs neither the client nor the broker. Each server needs an identity
of its own: two servers must not share a key file.

Credentials for the broker belong in cluster.credentials or in
P2PTUI_CLUSTER_SERVERS. They are refused on the command line, where everybody
on the machine can read them.

If the broker is gone, each server keeps serving its own nodes. List the
servers with p2ptui servers HOST:PORT.

More: docs/cluster.md
""",
    ),
    "config": Topic(
        "where options come from, and how to check them",
        """\
Options come from these places; the first one that sets an option wins:

  1. the command line
  2. the environment, see p2ptui help environment
  3. the user's file, ~/.config/p2ptui/config.toml on Linux
  4. the system's file, /etc/p2ptui/config.toml
  5. the default

Neither file has to exist. --config FILE is read instead of both; with
--no-config none is read. A file is TOML, or JSON if its name ends in .json.

  p2ptui --print-config > node.toml       every option with its meaning
  p2ptui --config node.toml --check-config
  p2ptui --print-config --where           where each value comes from

A node without a screen reads its configuration again on SIGHUP.

More: docs/configuration.md
""",
    ),
    "environment": Topic(
        "the variables that are read",
        """\
  P2PTUI_SECTION_OPTION  any option: P2PTUI_SERVER_NAME=alice. Separate the
                         items of a list by commas; switches are true or false.
  P2PTUI_NETWORK_KEY     the key that all nodes of the network share
  P2PTUI_LOG             the log level: trace, debug, info, warn or error
  RUST_LOG               the same, if P2PTUI_LOG is not set
  P2PTUI_SYSTEM_CONFIG   the system's file, instead of /etc/p2ptui/config.toml;
                         empty: none
  NO_COLOR               if set and not empty: no colours
  TERM=dumb              no colours in the log and in reports, and no screen
  XDG_CONFIG_HOME        where the user's files are, on Linux
  XDG_DATA_HOME
  XDG_STATE_HOME

A variable that begins with P2PTUI_ and is almost the name of an option is an
error, since it is probably a typo.
""",
    ),
    "exit-codes": Topic(
        "what the exit code of a command means",
        """\
  0      it worked
  1      it did not work: the error message says why
  2      wrong usage, or a configuration that cannot be used, with the files
         and folders that it names (a folder that receive cannot use: 1)
  128+N  ended by signal N: 130 after Ctrl+C, 143 after SIGTERM, 129 if the
         terminal was closed; receive ends with 130 after SIGTERM too

p2ptui nat exits with 1 if no server could answer, but still prints the report.
A node without a screen exits with 0 after SIGINT or SIGTERM, since that is how
it is stopped.
""",
    ),
    "files": Topic(
        "sending files, and where the program keeps its own",
        """\
To receive files, and to send one:

  p2ptui receive --into DIR --join server.example:8080 --name bob
  p2ptui send bob --join server.example:8080 --file notes.txt

A file can have at most about 786 kB: cut a larger one with split -b 700k. Its
SHA-256 is checked, its name is made safe, and no existing file is
overwritten. --from WHO keeps the files of one node only. More: docs/files.md

The program's own files, on Linux:

  ~/.config/p2ptui/config.toml        the user's configuration
  ~/.config/p2ptui/screen.json        the screen's theme and columns
  ~/.local/share/p2ptui/identity.key  the node's keys: keep them secret
  ~/.local/state/p2ptui/              known nodes, history, ports
  /etc/p2ptui/config.toml             the system's configuration

p2ptui key show names the key file. Without a home directory nothing is kept.
""",
    ),
    "json": Topic(
        "output for programs",
        """\
With --json every command prints one JSON object on standard output, however it
ends. Messages for people go to standard error.

If the command succeeds, the object has no key "error". If it fails, "error" is
the message on standard error, beside all results so far. The exit code says
the same.

Two commands run until they are stopped, and print one object per line:
p2ptui receive, one for each file, and p2ptui nat --watch, one for each report.

  p2ptui ping alice --join server.example:8080 --json
  p2ptui receive --into in --json | while read -r line; do ...; done

The log of a node without a screen is JSON with logging.format = "json".
""",
    ),
    "nat": Topic(
        "what a NAT does, and which nodes can reach each other",
        """\
A NAT gives the machines behind it an address that others can see, and decides
which packets it lets in. p2ptui nat finds out what yours does:

  p2ptui nat --server stun.example:3478
  p2ptui nat --join server.example:8080

  full-cone             lets in everybody
  restricted-cone       lets in hosts that you have sent to
  port-restricted-cone  lets in exact addresses that you have sent to
  symmetric             uses a new port for every destination
  open, firewall        no NAT; a firewall lets in replies only

Two nodes that joined the same server are introduced to each other and look for
a direct path. This works with every cone. If one side is symmetric, its next
port must be predicted; if both are, it often fails. Then the server relays
their traffic, if it was started with --relay.

A server started with --STUN answers such questions. More: docs/nat.md
""",
    ),
    "relay": Topic(
        "when two nodes cannot reach each other directly",
        """\
A server that was started with --relay forwards traffic between two nodes that
joined it. Nodes use the relay at once, keep looking for a direct path, and
move to it without losing a message. If that path fails, they come back.

  p2ptui --no-ui -a 0.0.0.0:8080 --relay

The relay can neither read nor change the messages between two nodes with keys.
It sees who talks to whom, when, and how much.

A client may send 1 MB a second through the relay, and 50 pairs of nodes may
use it: traffic_forwarding.max_relay_rate_per_client, max_concurrent_relays.
traffic_forwarding.allow and deny say which nodes may use it.

p2ptui ping says whether a path is direct or relayed, and why.

More: docs/relay.md
""",
    ),
    "signals": Topic(
        "how to stop a node, or make it reload its configuration",
        """\
A node without a screen (p2ptui --no-ui):

  SIGINT, SIGTERM  say goodbye to the peers and exit with 0; a second one ends
                   the node at once
  SIGHUP           reopen the log file, and read the configuration again
  SIGUSR1          log all statistics

Options that cannot change in a running node keep their values, and a line in
the log names them. A configuration that cannot be used changes nothing.

A node with a screen ends on SIGTERM and SIGHUP, with the exit codes 143 and
129. SIGUSR1 shows its statistics in the messages pane, and logs them.

More: docs/background.md
""",
    ),
    "trust": Topic(
        "who you talk to, and how to make sure",
        """\
Two p2ptui nodes agree on keys when they meet: nobody else can read, change or
forge their messages. A node's id is made from its keys, so no other node can
have it. A name is not protected: any node can choose any name.

The first time, compare the id with its user, by telephone or face to face. The
user sees it with p2ptui key show. If it is the same, run p2ptui trust NAME.

  verified  you marked this node as verified
  known     the same keys as last time
  new       met for the first time: compare ids, then trust it
  open      no keys: others may read and change your messages
  changed   another node used this name, address or id before: stop, and ask
            its user

p2ptui forget NAME undoes that. To keep strangers out, give all your nodes one
network key: p2ptui key new --output net.key, then --network-key-file net.key.

More: docs/trust.md
""",
    ),
}
