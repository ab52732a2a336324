"""What every folder's tests stand on: a clean environment, terraform, and the sandbox."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from driftwatch.sandbox.cloud import Cloud
from driftwatch.sandbox.mirror import cli_config, install

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """Nothing of the person who runs the tests steers terraform or boto3."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name == "AWS_CA_BUNDLE" or name.startswith("TF_"):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell ignores SIGINT in what it starts behind itself, and whatever that starts would too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """No test's choice of what is logged, and where to, outlives it.

    A handler that is left would write every later record into a stream that pytest has closed.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    for handler in [each for each in root.handlers if each not in handlers]:
        root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="session")
def terraform_binary() -> Path:
    """The terraform (or tofu) on PATH; without one the tests that need it are skipped, and say so."""
    found = shutil.which("terraform") or shutil.which("tofu")
    if found is None:
        pytest.skip("NEITHER terraform NOR tofu IS ON PATH: nothing that runs them is tested")
    return Path(found)


@pytest.fixture(scope="session")
def sandbox_mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filesystem mirror with the sandbox's provider in it."""
    return install(tmp_path_factory.mktemp("mirror"))


@pytest.fixture(scope="session")
def sandbox_cli_config(sandbox_mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLI configuration that names that mirror and nothing else."""
    file = tmp_path_factory.mktemp("cli") / "terraform.rc"
    file.write_text(cli_config(sandbox_mirror), encoding="utf-8")
    return file


@pytest.fixture
def sandbox_cloud(tmp_path: Path) -> Cloud:
    """An empty cloud; give its `directory` to the provider as `cloud` or SANDBOX_CLOUD."""
    return Cloud(tmp_path / "cloud")
