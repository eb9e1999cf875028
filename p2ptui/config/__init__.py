"""Floor 0: every option of a node, read from files, environment and command line, and printed.

`option` says what an option is, `sections` and `nat_sections` list them all, `broker_url` says what
a broker's URL may be, `load` reads and `render` prints; `where` says what was set where,
`file_rights` what others may do with the files, and `translation` has the reference in another
language.
"""

from p2ptui.config.cluster_section import ClusterOptions
from p2ptui.config.files_section import FilesOptions
from p2ptui.config.metrics_section import MetricsOptions
from p2ptui.config.nat_sections import (
    IceOptions,
    NatDetectionOptions,
    PortPredictionOptions,
    StunServerOptions,
    TrafficForwardingOptions,
)
from p2ptui.config.sections import (
    OPTIONS,
    Config,
    LoggingOptions,
    LogLevel,
    ReliabilityOptions,
    RoutingOptions,
    SecurityOptions,
    ServerOptions,
    config_warnings,
    prediction_options,
)
from p2ptui.config.ui_section import UiOptions

__all__ = [
    "OPTIONS",
    "ClusterOptions",
    "Config",
    "FilesOptions",
    "IceOptions",
    "LogLevel",
    "LoggingOptions",
    "MetricsOptions",
    "NatDetectionOptions",
    "PortPredictionOptions",
    "ReliabilityOptions",
    "RoutingOptions",
    "SecurityOptions",
    "ServerOptions",
    "StunServerOptions",
    "TrafficForwardingOptions",
    "UiOptions",
    "config_warnings",
    "prediction_options",
]
