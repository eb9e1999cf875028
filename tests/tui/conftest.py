from tests.tui import thrift

thrift.install()
