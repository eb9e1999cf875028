"""Several servers of one network: what each tells the others of its peers, and hands to them.

Sans-I/O, as all of the core: a broker is behind `bus`, in `io` the real one and one in memory.
"""
