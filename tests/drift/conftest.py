"""What the tests of the decisions share: the corpus, and one key for all digests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from driftwatch.drift import Digester, Reading, parse_document, read_plan
from driftwatch.model import Inputs

CORPUS = Path(__file__).parent / "corpus"
Document: TypeAlias = Mapping[str, Any]


@pytest.fixture(scope="session")
def digest() -> Digester:
    return Digester(b"a key of thirty-two bytes length")


@pytest.fixture(scope="session")
def document() -> Callable[[str], Document]:
    """Reads one document of the corpus."""

    def read(name: str) -> Document:
        return parse_document((CORPUS / f"{name}.json").read_bytes())

    return read


@pytest.fixture(scope="session")
def reading(document: Callable[[str], Document], digest: Digester) -> Callable[..., Reading]:
    """Reads what a document of the corpus means, with no baseline unless one is given."""

    def read(name: str, *, inputs: Inputs | None = None, baseline: Inputs | None = None) -> Reading:
        return read_plan(document(name), digest=digest, inputs=inputs or Inputs(), baseline=baseline)

    return read
