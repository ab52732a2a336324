"""What is read of messages, packages and states, and what is not taken for it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tf.gen import tfplugin_pb2 as pb

from driftwatch.errors import StateUnreadableError
from driftwatch.warm import wire
from driftwatch.warm.packages import Packages, Selection
from driftwatch.warm.state import Backend, StateIdentity, backend_of, identity_of, local_state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.warm.conftest import Stack


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def canonical(message: bytes) -> Any:
    return wire.canonical(message, wire.DIAGNOSTICS["ReadResource"])


def read_response(value: object, **more: object) -> bytes:
    state = pb.DynamicValue(msgpack=msgpack.packb(value))
    return pb.ReadResource.Response(new_state=state, **more).SerializeToString()


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(message: bytes) -> None:
    try:
        list(wire.fields(message))
        wire.errors(message, 2)
        canonical(message)
        list(wire.strings(message))
    except wire.MalformedMessageError:
        pass
    else:
        assert wire.trim_schema(message, ()) is not None


@given(VALUES)
def test_a_value_equals_itself_however_maps_are_ordered(value: object) -> None:
    def turned(each: object) -> object:
        if isinstance(each, dict):
            return {key: turned(inner) for key, inner in reversed(each.items())}
        return [turned(inner) for inner in each] if isinstance(each, list) else each

    assert canonical(read_response(value)) == canonical(read_response(turned(value)))


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (0, False), (1, 1.0), ("1", 1), (None, ""), ([], {}), (["a", "b"], ["b", "a"]), (b"a", "a")],
)
def test_values_that_are_not_the_same_differ(one: object, other: object) -> None:
    assert canonical(read_response({"x": one})) != canonical(read_response({"x": other}))


def test_private_data_counts_and_warnings_do_not() -> None:
    warning = pb.Diagnostic(severity=pb.Diagnostic.WARNING, summary="deprecated")
    plain, warned = read_response({"x": 1}), read_response({"x": 1}, diagnostics=[warning])
    assert plain != warned
    assert canonical(plain) == canonical(warned)
    assert canonical(plain) != canonical(read_response({"x": 1}, private=b"p"))
    assert wire.errors(warned, wire.DIAGNOSTICS["ReadResource"]) == ()


def test_errors_are_found() -> None:
    error = pb.Diagnostic(severity=pb.Diagnostic.ERROR, summary="denied", detail="by policy")
    assert wire.errors(read_response({}, diagnostics=[error]), wire.DIAGNOSTICS["ReadResource"]) == (
        "denied: by policy",
    )


def test_a_schema_keeps_all_but_the_types_not_asked_for() -> None:
    schema = pb.GetProviderSchema.Response(
        provider=pb.Schema(version=3),
        resource_schemas={name: pb.Schema(version=1) for name in ("a", "b", "c" * 200)},
        data_source_schemas={"a": pb.Schema(version=2), "d": pb.Schema()},
        server_capabilities=pb.ServerCapabilities(plan_destroy=True),
    )
    trimmed = pb.GetProviderSchema.Response.FromString(
        wire.trim_schema(schema.SerializeToString(), {"a", "c" * 200})
    )
    assert set(trimmed.resource_schemas) == {"a", "c" * 200}
    assert set(trimmed.data_source_schemas) == {"a"}
    assert trimmed.provider == schema.provider
    assert trimmed.server_capabilities == schema.server_capabilities


def test_texts_in_a_request_are_found_however_deep() -> None:
    config = pb.DynamicValue(msgpack=msgpack.packb({"a": [{"b": ["./x", 3]}, "y"]}))
    request = pb.ConfigureProvider.Request(terraform_version="1.11.4", config=config).SerializeToString()
    assert {"./x", "y"} <= set(wire.strings(request))


def test_a_package_is_taken_only_with_a_hash_that_the_lock_file_allows(stack: Stack) -> None:
    """And its hash is that of terraform; one changed byte is another binary."""
    lock = stack.module / ".terraform.lock.hcl"
    (package,) = stack.packages().packages.values()
    assert package.digest in lock.read_text()
    assert package.version == "1.0.0"

    copy = stack.root / "copy"
    shutil.copytree(stack.root / "data", copy, symlinks=False)
    binary = next(copy.rglob("terraform-provider-*"))
    packages = Packages()
    assert packages.selected(copy, lock).packages
    binary.write_bytes(binary.read_bytes() + b"\n")
    refused = Selection(packages={}, left_out=frozenset({package.address}))
    assert packages.selected(copy, lock) == refused
    assert packages.selected(stack.root / "nowhere", lock) == refused
    assert packages.selected(copy, stack.root / "no-lock-file").left_out == {"*"}


def test_a_states_identity_is_read_from_its_file(stack: Stack) -> None:
    state = local_state(backend_of(stack.root / "data"), stack.module, "default")
    known = json.loads((stack.module / "terraform.tfstate").read_text())
    found = state.identity()
    assert found
    assert found.is_named_as(StateIdentity(lineage=known["lineage"], serial=known["serial"]))


def test_no_state_is_none_and_a_broken_one_an_error(tmp_path: Path) -> None:
    assert local_state(Backend(type="local", config={}), tmp_path, "default").identity() is None
    assert identity_of(b"", "it") is None
    for broken in (b"{", b"[]", b'{"serial": "1", "lineage": "x"}', b'{"serial": 1, "lineage": ""}'):
        with pytest.raises(StateUnreadableError):
            identity_of(broken, "it")


def test_where_the_local_backend_keeps_states(tmp_path: Path) -> None:
    plain = Backend(type="local", config={})
    given_path = Backend(type="local", config={"path": "/s/x.tfstate", "workspace_dir": "w"})
    assert local_state(plain, tmp_path, "default").path == tmp_path / "terraform.tfstate"
    assert local_state(plain, tmp_path, "a").path == tmp_path / "terraform.tfstate.d/a/terraform.tfstate"
    assert str(local_state(given_path, tmp_path, "default").path) == "/s/x.tfstate"
    assert local_state(given_path, tmp_path, "a").path == tmp_path / "w/a/terraform.tfstate"


def test_a_backend_shows_no_credentials(tmp_path: Path) -> None:
    document = {"backend": {"type": "s3", "config": {"bucket": "b", "secret_key": "canary-1"}}}
    (tmp_path / "terraform.tfstate").write_text(json.dumps(document))
    backend = backend_of(tmp_path)
    assert (backend.type, backend.config["bucket"]) == ("s3", "b")
    assert "canary" not in repr(backend)
