"""Several servers of one network: what each tells the others of its peers, and hands to them.

Sans-I/O, as all of the core: a broker is behind `bus`, in `io` the real one and one in memory.
`room` is what others see. It is made of `own`, who this server is there; `others`, which servers
there are, and `beacons`, what shows that it is they who say so; `view`, whom they hold, each by an
`entry`; `presence`, whom this one holds; `entries`, what is written of each; `statements`, what
peers have signed of that, and `claims`, how it is settled where they cannot; `handing`, what goes
from server to server.
"""
