"""A provider that reads files by the path it is given, from where it runs; with TLS if TALK_TLS is set."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tf.iface import DataSource, Provider
from tf.provider import ProviderServicer
from tf.schema import Attribute, Schema
from tf.types import String

from driftwatch.sandbox.plugin import serve

if TYPE_CHECKING:
    from typing import Any


class Text(DataSource):
    def __init__(self, provider: Paths) -> None:
        self.provider = provider

    @classmethod
    def get_name(cls) -> str:
        return "text"

    @classmethod
    def get_schema(cls) -> Schema:
        return Schema(
            attributes=[
                Attribute("path", String(), required=True),
                Attribute("content", String(), computed=True),
            ]
        )

    def validate(self, diags: Any, type_name: str, config: dict[str, Any]) -> None:
        pass

    def read(self, ctx: Any, config: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002  (the framework's)
        path = Path(config["path"])
        return {"path": config["path"], "content": path.read_text() if path.exists() else None}


class Paths(Provider):
    def get_model_prefix(self) -> str:
        return "paths_"

    def full_name(self) -> str:
        return "paths.test/some/paths"

    def get_provider_schema(self, diags: Any) -> Schema:  # noqa: ARG002  (as above)
        return Schema(attributes=[])

    def validate_config(self, diags: Any, config: dict[str, Any]) -> None:
        pass

    def configure_provider(self, diags: Any, config: dict[str, Any]) -> None:
        pass

    def get_data_sources(self) -> list[type[DataSource]]:
        return [Text]

    def get_resources(self) -> list[Any]:
        return []


if __name__ == "__main__":
    tls = {"PLUGIN_CLIENT_CERT": "-"} if os.environ.get("TALK_TLS") else {}
    code = serve(ProviderServicer(Paths()), {**os.environ, **tls})
    sys.stdout.flush()
    os._exit(code)
