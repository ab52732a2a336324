"""The sandbox's Terraform provider: `python -m driftwatch.sandbox.provider`, started by terraform.

Translates between the plugin protocol (through the `tf` framework) and `driftwatch.sandbox.cloud`. A process
of its own: nothing of driftwatch but the cloud and the plugin server is imported here, as start-up is paid
for several times in each plan.

    provider "sandbox" {
      cloud  = "/absolute/path"    # or the environment variable SANDBOX_CLOUD
      region = "local-1"           # where resources go that name no region
    }
"""

from __future__ import annotations

import os
import sys
import threading
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tf.blocks import SetNestedBlock
from tf.iface import DataSource, Provider, Resource
from tf.provider import ProviderServicer
from tf.schema import Attribute, Block, NestMode, Schema
from tf.types import Bool, List, Map, Number, Set, String, TfType, Unknown
from tf.utils import read_dynamic_value, to_dynamic_value

from driftwatch.sandbox.address import ADDRESS
from driftwatch.sandbox.cloud import DEFAULT_REGION, REGIONS, Cloud, CloudError, Kind, Record, key_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tf.gen import tfplugin_pb2 as pb
    from tf.iface import (
        CreateContext,
        DeleteContext,
        ImportContext,
        PlanContext,
        ReadContext,
        ReadDataContext,
        UpdateContext,
    )
    from tf.utils import Diagnostics

_REFUSALS: Mapping[str, tuple[int, str, str]] = {
    "expired_credentials": (403, "ExpiredToken", "The security token included in the request is expired"),
    "access_denied": (403, "AccessDenied", "not authorized to perform this operation"),
    "throttled": (400, "ThrottlingException", "Rate exceeded"),
    "unavailable": (503, "ServiceUnavailable", "The service is unavailable, try again later"),
}
"""How refusals are worded: as by AWS's services, which is what people and log searches know."""

_HANG_SECONDS = 3600.0


class Object(TfType):  # type: ignore[misc]
    """An object type, which `tf` has no class for; values are dicts with all of its attributes."""

    def __init__(self, attributes: Mapping[str, TfType]) -> None:
        self.attributes = attributes

    def encode(self, value: Any) -> Any:
        return value

    def decode(self, value: Any) -> Any:
        return value

    def tf_type(self) -> bytes:
        members = ",".join(
            f'"{name}":{kind.tf_type().decode()}' for name, kind in sorted(self.attributes.items())
        )
        return f'["object",{{{members}}}]'.encode()


class ListBlock(SetNestedBlock):  # type: ignore[misc]
    """A nested block whose order counts, which `tf` has no class for."""

    _mode_map: ClassVar = {NestMode.Set: 2}  # tfplugin6.Schema.NestedBlock.NestingMode: LIST is 2, SET is 3

    def semantically_equal(self, a_decoded: Any, b_decoded: Any) -> bool:
        return bool(a_decoded == b_decoded)


def _required(name: str, kind: TfType, *, replace: bool = False, sensitive: bool = False) -> Attribute:
    return Attribute(name, kind, required=True, requires_replace=replace, sensitive=sensitive)


def _optional(name: str, kind: TfType, *, sensitive: bool = False) -> Attribute:
    return Attribute(name, kind, optional=True, sensitive=sensitive)


def _defaulted(name: str, kind: TfType, default: Any = Unknown, *, replace: bool = False) -> Attribute:
    return Attribute(name, kind, optional=True, computed=True, default=default, requires_replace=replace)


def _computed(name: str, kind: TfType) -> Attribute:
    return Attribute(name, kind, computed=True)


def _emptied(name: str) -> Attribute:
    """A map that is null where the code has none and {} as soon as the cloud was read.

    That makes a difference in `resource_drift` right after a first apply, and none in `resource_changes`: the
    commonest noise of real providers.
    """
    return _defaulted(name, Map(String()), None)


def _region() -> Attribute:
    return _defaulted("region", String(), replace=True)


class _SandboxResource(Resource):  # type: ignore[misc]
    """What the four kinds have in common, which is nearly all."""

    kind: ClassVar[Kind]
    schema: ClassVar[Schema]

    def __init__(self, provider: SandboxProvider) -> None:
        self._provider = provider

    @classmethod
    def get_name(cls) -> str:
        return cls.kind.value

    @classmethod
    def get_schema(cls) -> Schema:
        return cls.schema

    def validate(self, diags: Diagnostics, type_name: str, config: dict[str, Any]) -> None:
        super().validate(diags, type_name, config)
        for name in (one.name for one in self.schema.attributes if one.required):
            if config.get(name) == "":
                diags.add_error(f"{name} must not be empty", path=[name])

    def create(self, ctx: CreateContext, planned: dict[str, Any]) -> dict[str, Any] | None:
        wanted = self._settable({"region": self._provider.region, **_known(planned)})

        def make() -> dict[str, Any]:
            return self._state(self._provider.cloud.create(self.kind, wanted)) | _known(planned)

        return self._attempt(ctx, "create", "/".join(key_parts(self.kind, wanted)), make, otherwise=None)

    def read(self, ctx: ReadContext, current: dict[str, Any]) -> dict[str, Any] | None:
        def look() -> dict[str, Any] | None:
            record = self._provider.cloud.read(self.kind, current["id"])
            return self._state(record) if record else None

        return self._attempt(ctx, "read", current["id"], look, otherwise=current)

    def update(
        self, ctx: UpdateContext, current: dict[str, Any], planned: dict[str, Any]
    ) -> dict[str, Any] | None:
        changes = self._settable(_known(planned))

        def change() -> dict[str, Any]:
            return self._state(self._provider.cloud.update(self.kind, current["id"], changes)) | _known(
                planned
            )

        return self._attempt(ctx, "update", current["id"], change, otherwise=current)

    def delete(self, ctx: DeleteContext, current: dict[str, Any]) -> dict[str, Any] | None:
        def remove() -> None:
            try:
                self._provider.cloud.delete(self.kind, current["id"])
            except CloudError as error:
                if error.code != "NotFound":  # gone already is what was wanted
                    raise

        return self._attempt(ctx, "delete", current["id"], remove, otherwise=current)

    def plan(
        self, ctx: PlanContext, current: dict[str, Any], planned: dict[str, Any]
    ) -> dict[str, Any] | None:
        blocks = (
            block
            for block in self.schema.block_types
            if not block.semantically_equal(current[block.type_name], planned[block.type_name])
        )
        if "revision" in planned and (ctx.changed_fields or any(blocks)):
            planned["revision"] = Unknown
        return planned

    def import_(self, ctx: ImportContext, id: str) -> dict[str, Any] | None:  # noqa: A002  (the framework's name)
        def look() -> dict[str, Any]:
            record = self._provider.cloud.read(self.kind, id)
            if record is None:
                raise CloudError("NotFound", f"no {self.kind} {id!r}")
            return self._state(record)

        return self._attempt(ctx, "read", id, look, otherwise=None)

    def _attempt(
        self,
        ctx: Any,
        operation: str,
        key: str,
        action: Callable[[], dict[str, Any] | None],
        *,
        otherwise: dict[str, Any] | None,
    ) -> dict[str, Any] | None:
        """Does `action`; where the cloud refuses, there is a diagnostic and the state is `otherwise`."""
        try:
            return self._provider.request(operation, ctx.type_name, key, action)
        except CloudError as error:
            _tell(ctx.diagnostics, f"{operation} {ctx.type_name} ({key})", error)
            return otherwise

    def _state(self, record: Record) -> dict[str, Any]:
        names = [attribute.name for attribute in self.schema.attributes]
        names += [block.type_name for block in self.schema.block_types]
        return {name: record.attributes.get(name) for name in names} | (
            {"revision": record.revision} if "revision" in names else {}
        )

    def _settable(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        names = {one.name for one in self.schema.attributes if one.required or one.optional}
        names |= {block.type_name for block in self.schema.block_types}
        return {name: value for name, value in wanted.items() if name in names}


class Firewall(_SandboxResource):
    """sandbox_firewall: nested blocks in a set, with a set inside."""

    kind = Kind.FIREWALL
    schema = Schema(
        version=1,
        attributes=[
            _computed("id", String()),
            _required("name", String(), replace=True),
            _region(),
            _optional("description", String()),
            _defaulted("enabled", Bool(), default=True),
            _emptied("tags"),
        ],
        block_types=[
            SetNestedBlock(
                "ingress",
                Block(
                    attributes=[
                        _required("port", Number()),
                        _required("protocol", String()),
                        _required("cidrs", Set(String())),
                        _optional("description", String()),
                    ]
                ),
            )
        ],
    )


class Bucket(_SandboxResource):
    """sandbox_bucket: nested blocks in a list, computed values that can be known from the name."""

    kind = Kind.BUCKET
    schema = Schema(
        version=1,
        attributes=[
            _computed("id", String()),
            _required("name", String(), replace=True),
            _region(),
            _defaulted("versioning", Bool(), default=False),
            _emptied("tags"),
            _computed("arn", String()),
            _computed("endpoint", String()),
        ],
        block_types=[
            ListBlock(
                "lifecycle_rule",
                Block(
                    attributes=[
                        _required("prefix", String()),
                        _required("expire_days", Number()),
                        _optional("storage_class", String()),
                    ]
                ),
            )
        ],
    )


class Database(_SandboxResource):
    """sandbox_database: a sensitive value, an object, and a `revision` that the cloud counts by itself."""

    kind = Kind.DATABASE
    schema = Schema(
        version=1,
        attributes=[
            _computed("id", String()),
            _required("name", String(), replace=True),
            _region(),
            _required("engine", String(), replace=True),
            _required("version", String()),
            _defaulted("size", Number(), default=20),
            _defaulted("replicas", Number(), default=0),
            _required("password", String(), sensitive=True),
            _emptied("parameters"),
            _optional("maintenance", Object({"day": String(), "hour": Number()})),
            _emptied("tags"),
            _computed("endpoint", String()),
            _computed("revision", Number()),
        ],
    )


class DnsRecord(_SandboxResource):
    """sandbox_dns_record: a set of plain values."""

    kind = Kind.DNS_RECORD
    schema = Schema(
        version=1,
        attributes=[
            _computed("id", String()),
            _required("zone", String(), replace=True),
            _required("name", String(), replace=True),
            _required("type", String(), replace=True),
            _defaulted("ttl", Number(), default=300),
            _required("values", Set(String())),
            _computed("fqdn", String()),
        ],
    )


class _SandboxData(DataSource):  # type: ignore[misc]
    name: ClassVar[str]
    schema: ClassVar[Schema]

    def __init__(self, provider: SandboxProvider) -> None:
        self._provider = provider

    @classmethod
    def get_name(cls) -> str:
        return cls.name

    @classmethod
    def get_schema(cls) -> Schema:
        return cls.schema

    def read(self, ctx: ReadDataContext, config: dict[str, Any]) -> dict[str, Any] | None:
        key = str(config["name"])
        try:
            return self._provider.request("read_data", ctx.type_name, key, lambda: self.look_up(config))
        except CloudError as error:
            _tell(ctx.diagnostics, f"read_data {ctx.type_name} ({key})", error)
            return None

    @abstractmethod
    def look_up(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What the cloud says; raises CloudError."""


class BucketData(_SandboxData):
    """data sandbox_bucket: a bucket by its name, whoever made it."""

    name = "bucket"
    schema = Schema(
        version=1,
        attributes=[
            _required("name", String()),
            _computed("id", String()),
            _computed("region", String()),
            _computed("versioning", Bool()),
            _computed("tags", Map(String())),
            _computed("arn", String()),
            _computed("endpoint", String()),
        ],
    )

    def look_up(self, config: Mapping[str, Any]) -> dict[str, Any]:
        record = self._provider.cloud.read(Kind.BUCKET, config["name"])
        if record is None:
            raise CloudError("NotFound", f"no bucket {config['name']!r}")
        return {one.name: record.attributes[one.name] for one in self.schema.attributes}


class RegionData(_SandboxData):
    """data sandbox_region: a region and its zones; the provider's own where no name is given."""

    name = "region"
    schema = Schema(
        version=1,
        attributes=[
            _defaulted("name", String()),
            _computed("id", String()),
            _computed("zones", List(String())),
        ],
    )

    def look_up(self, config: Mapping[str, Any]) -> dict[str, Any]:
        name = config["name"] or self._provider.region
        if name not in REGIONS:
            raise CloudError("NotFound", f"no region {name!r}; there are {', '.join(REGIONS)}")
        return {"name": name, "id": name, "zones": list(REGIONS[name])}


class SandboxProvider(Provider):  # type: ignore[misc]
    """One provider process; `cloud` and `region` are there once it is configured."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._cloud: Cloud | None = None
        self.region = DEFAULT_REGION
        self.stopped = threading.Event()

    @property
    def cloud(self) -> Cloud:
        if self._cloud is None:
            raise CloudError("NotConfigured", "the provider was not configured")
        return self._cloud

    def get_model_prefix(self) -> str:
        return "sandbox_"

    def full_name(self) -> str:
        return ADDRESS

    def get_provider_schema(self, diags: Diagnostics) -> Schema:  # noqa: ARG002  (the framework's signature)
        return Schema(version=1, attributes=[_optional("cloud", String()), _optional("region", String())])

    def validate_config(self, diags: Diagnostics, config: dict[str, Any]) -> None:
        """Anything that has the right types will do until it is used."""

    def configure_provider(self, diags: Diagnostics, config: dict[str, Any]) -> None:
        try:
            self._configure(config)
            self.request("configure", "*", "*", lambda: None)
        except CloudError as error:
            _tell(diags, "configure the sandbox provider", error)

    def _configure(self, config: Mapping[str, Any]) -> None:
        configured = _known(config)
        directory = configured.get("cloud") or self._environment.get("SANDBOX_CLOUD")
        region = configured.get("region") or DEFAULT_REGION
        if not directory:
            raise CloudError(
                "NoCredentials", "set `cloud` in the provider block, or SANDBOX_CLOUD, to a directory"
            )
        if not Path(directory).is_dir():
            raise CloudError("NoCredentials", f"there is no cloud at {directory}: no such directory")
        if region not in REGIONS:
            raise CloudError("InvalidRegion", f"no region {region!r}; there are {', '.join(REGIONS)}")
        self._cloud = Cloud(Path(directory))
        self.region = region

    def get_data_sources(self) -> list[type[DataSource]]:
        return [BucketData, RegionData]

    def get_resources(self) -> list[type[Resource]]:
        return [Firewall, Bucket, Database, DnsRecord]

    def request(
        self, operation: str, type_name: str, key: str, action: Callable[[], dict[str, Any] | None]
    ) -> dict[str, Any] | None:
        """Does `action` as the cloud's faults allow; raises `CloudError`."""
        fault = self.cloud.take_fault(operation, type_name, key)
        if fault is None:
            return action()
        if fault.kind in _REFUSALS:
            status, code, message = _REFUSALS[fault.kind]
            raise CloudError(code, f"https response error StatusCode: {status}, api error {code}: {message}")
        if fault.kind == "crash":
            _crash()
        if fault.kind == "delay" and self.stopped.wait(fault.seconds):
            raise CloudError("RequestCanceled", "context canceled: terraform asked to stop")
        if fault.kind == "hang":
            threading.Event().wait(_HANG_SECONDS)
        result = action()
        if fault.kind == "crash_after":
            _crash()
        return result


class SandboxServicer(ProviderServicer):  # type: ignore[misc]
    """`tf`'s servicer plans from the proposed state alone: it cannot tell what the code leaves out."""

    def PlanResourceChange(self, request: pb.PlanResourceChange.Request, context: Any) -> Any:  # noqa: N802
        """Plans the default for what the code leaves out; otherwise it would stay as the cloud has it."""
        prior, proposed, config = (
            read_dynamic_value(value)
            for value in (request.prior_state, request.proposed_new_state, request.config)
        )
        if prior is not None and proposed is not None:
            left_out = [
                one for one in self._get_res_attrs(request.type_name).values() if config[one.name] is None
            ]
            proposed |= {one.name: one.default for one in left_out if _is_default_due(one, prior[one.name])}
            request.proposed_new_state.CopyFrom(to_dynamic_value(proposed))
        return super().PlanResourceChange(request, context)

    def StopProvider(self, request: pb.StopProvider.Request, context: Any) -> Any:  # noqa: N802
        """Wakes the requests that wait; like a Go SDK provider, it stays stopped."""
        self.app.stopped.set()
        return super().StopProvider(request, context)


def _is_default_due(attribute: Attribute, prior: Any) -> bool:
    """False for {} where the default is null: that is how the cloud says null."""
    return attribute.optional and attribute.default is not Unknown and bool(prior or attribute.default)


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not Unknown}


def _tell(diagnostics: Diagnostics, doing: str, error: CloudError) -> None:
    diagnostics.add_error(f"{doing}: {error.code}", detail=str(error))


def _crash() -> None:
    """Dies as a Go provider does; terraform looks for the word panic on stderr."""
    sys.stderr.write("panic: the sandbox provider was told to crash\n\ngoroutine 1 [running]:\n")
    sys.stderr.flush()
    os._exit(2)


def main() -> None:
    """Serves terraform, and leaves without waiting for requests that hang."""
    from driftwatch.sandbox.plugin import serve

    code = serve(SandboxServicer(SandboxProvider(os.environ)), os.environ)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
