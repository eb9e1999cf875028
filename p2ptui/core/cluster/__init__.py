"""Several servers of one network: what each tells the others of its peers, and hands to them.

Sans-I/O, as all of the core: a broker is behind `bus`, in `io` the real one and one in memory.
`room` is what others see. It is made of `own`, who this server is there; `others`, which servers
there are, each a `Run` of `runs`, and `beacons`, what shows that it is they who say so; `view`,
whom they hold, each by an `entry`; `tellings`, how that is told when one of them comes or goes;
`presence`, whom this one holds; `entries`, what is written of each; `statements`, what nodes have
signed of that, and `claims`, how it is settled where they cannot; `handing`, what goes from server
to server; `deletions`, whether what was taken away is gone; `unproved`, whom they tell of
without a proof.
"""
