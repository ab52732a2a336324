"""The people of the demo: one applies as one does at a terminal, another changes the cloud by hand."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from driftwatch.errors import EngineError
from driftwatch.log import redact
from driftwatch.model import FindingKind
from driftwatch.sandbox.cloud import DEFAULT_REGION, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from driftwatch.sandbox.cloud import Cloud

_DETAIL_LINES = 40
_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Meddling:
    """A change made by hand: where driftwatch should find it, and what a person would say of it."""

    stack: str
    address: str
    kind: FindingKind
    attributes: tuple[str, ...]
    sentence: str


def apply(
    binary: Path,
    module: Path,
    *,
    cli_config: Path,
    scratch: Path,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Runs `init` and `apply -auto-approve` in `module`, a directory of the person's own clone.

    What terraform writes besides the state goes to `scratch`. Nothing of this process's environment is handed
    on but `environment`. Raises `EngineError` with the last lines that terraform said.
    """
    data = scratch / "data" / hashlib.sha256(str(module.absolute()).encode()).hexdigest()[:16]
    home = scratch / "home"
    for directory in (data, home):
        directory.mkdir(parents=True, exist_ok=True)
    settings = {
        "PATH": os.defpath,
        "HOME": str(home),
        "TMPDIR": str(home),
        "TF_DATA_DIR": str(data),
        "TF_CLI_CONFIG_FILE": str(cli_config),
        **(environment or {}),
    }
    _run(binary, module, settings, "init", "-input=false", "-no-color")
    _run(binary, module, settings, "apply", "-auto-approve", "-input=false", "-no-color")


def meddle(cloud: Cloud) -> tuple[Meddling, ...]:
    """Changes the estate's cloud by hand in three places and returns them.

    The estate of `driftwatch.sandbox.estate` has to be applied; raises `CloudError` where it is not.
    """
    _open_admin_port(cloud)
    cloud.delete(Kind.DNS_RECORD, "example.test/api/A")
    _relabel_billing(cloud)
    return (
        Meddling(
            stack="envs/prod/network",
            address="sandbox_firewall.admin",
            kind=FindingKind.MODIFIED,
            attributes=("/ingress",),
            sentence="SSH on the production bastions was opened to the whole world",
        ),
        Meddling(
            stack="dns",
            address='sandbox_dns_record.host["api"]',
            kind=FindingKind.DELETED,
            attributes=(),
            sentence="the DNS record of api.example.test was deleted",
        ),
        Meddling(
            stack="envs/prod/data",
            address="module.billing.sandbox_bucket.exports",
            kind=FindingKind.MODIFIED,
            attributes=("/tags/environment",),
            sentence="the billing exports were labelled as test data",
        ),
    )


def _open_admin_port(cloud: Cloud) -> None:
    key = f"{DEFAULT_REGION}/prod-admin"
    rule = {"port": 22, "protocol": "tcp", "cidrs": ["0.0.0.0/0"], "description": "temporary, ask Bob"}
    firewall = cloud.get(Kind.FIREWALL, key)
    cloud.update(Kind.FIREWALL, key, {"ingress": [*firewall.attributes["ingress"], rule]})


def _relabel_billing(cloud: Cloud) -> None:
    bucket = cloud.get(Kind.BUCKET, "prod-billing-exports")
    cloud.update(Kind.BUCKET, bucket.key, {"tags": {**bucket.attributes["tags"], "environment": "test"}})


def _run(binary: Path, module: Path, environment: Mapping[str, str], *arguments: str) -> None:
    running = subprocess.Popen(
        [str(binary), *arguments],
        cwd=module,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a Ctrl-C comes from us, once: the second would abandon what it is making
    )
    with running:
        try:
            said, _ = running.communicate()
        except BaseException:
            _interrupt(running)
            raise
    if running.returncode != 0:
        raise EngineError(
            f"{binary.name} {arguments[0]} failed in {module} (exit {running.returncode}).",
            detail=redact("\n".join(said.splitlines()[-_DETAIL_LINES:])),
        )


def _interrupt(running: subprocess.Popen[str]) -> None:
    """Ends terraform as a person would: it finishes what it is making, and takes its provider along."""
    running.send_signal(signal.SIGINT)
    try:
        running.communicate(timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
