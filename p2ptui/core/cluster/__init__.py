"""Several servers of one network: what each tells the others about its peers and hands to them.

Sans-I/O, like all of the core: the broker is behind `bus`; `io` has the real one and one in memory.
`room` is what the rest of the core sees. Its parts: `own`, who this server is in the cluster;
`others`, the other servers, each a `Run` of `runs`, and `beacons`, which prove that they are alive;
`view`, the nodes that they hold, each an `entry`; `tellings`, how these are reported when a server
comes or goes; `presence`, the nodes that this server holds; `entries`, what is written about each;
`statements`, what nodes have signed, and `claims`, how ownership is settled where they cannot sign;
`handing`, messages from server to server; `deletions`, whether a deleted entry is really gone;
`unproved`, the nodes that servers report although they have not proved their addresses.
"""
