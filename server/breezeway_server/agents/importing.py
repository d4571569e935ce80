"""Things named `module:attribute` in the configuration."""

import importlib
from typing import Any

from breezeway_server.agents.errors import ConfigError


def import_attribute(path: str, key: str) -> Any:
    """The attribute that `path` (`package.module:attribute`) names.

    Raises `ConfigError` that begins with `key`, the place in the configuration that holds the path.
    """
    module_name, colon, attribute = path.partition(":")
    if not (module_name and colon and attribute):
        raise ConfigError(f'{key}: "{path}" is no import path; write it as "package.module:attribute".')
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        # The operator's own module may raise anything while it is imported.
        raise ConfigError(
            f"{key}: importing {module_name} failed ({type(error).__name__}: {error}); correct the module, "
            "or put its folder on PYTHONPATH."
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ConfigError(f'{key}: module {module_name} has no "{attribute}"; correct the name.') from None
