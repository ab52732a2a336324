"""The configuration's JSON Schema, for editors and for other programs."""

from __future__ import annotations

from typing import Any

from driftwatch.config.settings import Settings

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """JSON Schema of the configuration file, draft 2020-12.

    It knows each key for itself; what spans several of them, and whether a secret resolves, only `load` says.
    """
    return {
        "$schema": DIALECT,
        **Settings.model_json_schema(by_alias=True),
        "title": "driftwatch configuration",
    }
