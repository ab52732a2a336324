"""The shop: a second lab, of many resource types, and what others have that it looks up."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.request import Request, urlopen

import pytest

from tests.acceptance.aws.conftest import Lab
from tests.acceptance.aws.mutations.changes import lookups

if TYPE_CHECKING:
    from collections.abc import Callable

SHOP = Path(__file__).parent / "lab"

OpenShop: TypeAlias = "Callable[..., Lab]"


@pytest.fixture
def open_shop(tmp_path: Path, aws_mirror: Path, aws_endpoint: str, terraform_binary: Path) -> OpenShop:
    """Applies the lab, or the named files of it, to a cloud that holds nothing but what others have."""

    def opened(*files: str) -> Lab:
        directory = tmp_path / "shop"
        directory.mkdir()
        for each in files or [found.name for found in SHOP.glob("*.tf")]:
            shutil.copy(SHOP / each, directory)
        config = tmp_path / "terraformrc"
        config.write_text(
            f'provider_installation {{\n  filesystem_mirror {{\n    path = "{aws_mirror}"\n  }}\n}}\n'
        )
        lab = Lab(
            directory=directory,
            endpoint=aws_endpoint,
            binary=terraform_binary,
            environment={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "TF_CLI_CONFIG_FILE": str(config),
                "AWS_ENDPOINT_URL": aws_endpoint,
                "CHECKPOINT_DISABLE": "1",
                "NO_PROXY": "127.0.0.1",
            },
        )
        _empty_the_cloud(aws_endpoint)
        lookups.prepare(lab)
        lab.terraform("init", "-input=false")
        lab.terraform("apply", "-auto-approve", "-input=false")
        return lab

    return opened


def _empty_the_cloud(endpoint: str) -> None:
    """The server outlives a test, and the names in the lab are always the same."""
    with urlopen(Request(f"{endpoint}/moto-api/reset", method="POST"), timeout=30) as answer:
        assert answer.status == 200
