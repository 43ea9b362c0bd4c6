"""What a client is set up with, from its arguments and the environment.

A token of the environment belongs to the daemon of the environment: it is never sent to an address
that the caller named without a token. The same goes for the run that this process is part of.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from runsd_client.address import default_address, parse_address
from runsd_client.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Settings:
    """`parent_run_id` is the default parent of the runs that are created."""

    address: str
    token: str = field(default="", repr=False)
    project: str = ""
    parent_run_id: str = ""

    @property
    def call_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def project_or_default(self, project: str | None) -> str:
        return self.project if project is None else project


def resolve_settings(
    address: str | None = None,
    token: str | None = None,
    project: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """None is "from the environment"; an empty string is "none". Raises ConfigurationError."""
    environ = os.environ if environ is None else environ
    own_daemon = address is None
    if token is None:
        token = environ.get("RUNSD_API_TOKEN", "") if own_daemon else ""
    if not (token.isascii() and token.isprintable()):
        raise ConfigurationError("the token holds characters that no token has; check RUNSD_API_TOKEN")
    return Settings(
        address=default_address(environ) if address is None else parse_address(address),
        token=token,
        project=environ.get("RUNSD_PROJECT", "") if project is None else project,
        parent_run_id=environ.get("RUNSD_RUN_ID", "") if own_daemon else "",
    )
