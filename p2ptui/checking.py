"""A configuration looked at without starting a node: what it names must be there, too."""

from p2ptui.config import Config, config_warnings
from p2ptui.config.security_section import OPEN_BY_ID, key_notices
from p2ptui.node.own_identity import network_key_of


def check_config(config: Config) -> list[str]:
    """What is allowed but will surprise, one line each.

    Raises:
        ConfigError: A key, an action or a theme that there is not.
        KeyFileError: The file of the network key cannot be used.
    """
    network_key = network_key_of(config)
    if config.ui.keys or config.ui.theme:
        from p2ptui.tui.keymap import check_ui_options

        check_ui_options(config.ui)
    of_keys = key_notices(config.security, network_key)
    return [*([OPEN_BY_ID] if config.server.node_id else []), *of_keys, *config_warnings(config)]
