"""What a run's process finds in its environment: an allowlist, the definition's own, the contract's.

Never the daemon's: a secret that the daemon was given does not reach a run by inheritance.
"""

from __future__ import annotations

from collections.abc import Mapping

from runsd.adapters.base import AttemptSpec
from runsd.model.times import rfc3339

PASSED_ON = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
    "XDG_RUNTIME_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def environment(spec: AttemptSpec, daemon_environment: Mapping[str, str]) -> dict[str, str]:
    names = (*PASSED_ON, *spec.definition.env_allowlist)
    passed_on = {name: daemon_environment[name] for name in names if name in daemon_environment}
    return {"PATH": DEFAULT_PATH, **passed_on, **spec.definition.env, **contract(spec)}


def contract(spec: AttemptSpec) -> dict[str, str]:
    run, documents, directory = spec.run, spec.documents, spec.directory
    scheduled = {} if run.scheduled_for is None else {"RUNSD_SCHEDULED_FOR": rfc3339(run.scheduled_for)}
    return scheduled | {
        "RUNSD_RUN_ID": run.run_id,
        "RUNSD_PROJECT": run.project,
        "RUNSD_TARGET": run.target,
        "RUNSD_ATTEMPT": str(run.attempt),
        "RUNSD_INPUT": str(directory.input if documents.input_json else directory.null),
        "RUNSD_CONFIG": str(directory.config if documents.config_json else directory.null),
        "RUNSD_OUTPUT": str(directory.output),
        "RUNSD_ERROR": str(directory.error),
        "RUNSD_EVENTS": str(directory.events),
        "RUNSD_EVENT_BYTES": str(spec.limits.event_bytes),
        "RUNSD_ARTIFACTS": str(directory.artifacts),
        "RUNSD_STATE": str(directory.state),
        "RUNSD_ADDRESS": spec.address,
    }
