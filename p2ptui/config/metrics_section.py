"""The options of the metrics that a node serves over HTTP."""

from typing import Annotated

from p2ptui.config.option import About, Section, address_form

_ADDRESS = address_form(
    "HOST:PORT or [IPV6]:PORT, or empty; port 0 takes any free one", may_be_empty=True
)


class MetricsOptions(Section, frozen=True, kw_only=True):
    """Metrics for Prometheus, and health checks; off by default."""

    address: Annotated[
        str,
        About(
            "The address of /metrics, /healthz and /readyz over HTTP; empty: none. There is no"
            " password: listen on 127.0.0.1, or on a network that only your own machines can"
            " reach. Needs the extra p2ptui[metrics].",
            form=_ADDRESS,
        ),
    ] = ""
