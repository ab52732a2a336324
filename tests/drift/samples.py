"""Small plan documents in Terraform's own shape, for what the corpus does not vary."""

from __future__ import annotations

from typing import Any

PROVIDER = "registry.example.test/acme/thing"
ADDRESS = "thing_box.it"


def change(
    before: Any,
    after: Any,
    *,
    actions: tuple[str, ...] = ("update",),
    address: str = ADDRESS,
    unknown: Any = None,
    before_sensitive: Any = False,
    after_sensitive: Any = False,
    **more: Any,
) -> dict[str, Any]:
    """One entry of `resource_changes` or `resource_drift`."""
    return {
        "address": address,
        "mode": "managed",
        "type": address.rpartition(".")[0].rpartition(".")[2] or "thing_box",
        "name": "it",
        "provider_name": PROVIDER,
        "change": {
            "actions": list(actions),
            "before": before,
            "after": after,
            "after_unknown": {} if unknown is None else unknown,
            "before_sensitive": before_sensitive,
            "after_sensitive": after_sensitive,
            **more,
        },
    }


def plan(
    *changes: dict[str, Any],
    drift: tuple[dict[str, Any], ...] = (),
    outputs: dict[str, Any] | None = None,
    configured: dict[str, tuple[str, ...]] | None = None,
    depends_on: dict[str, tuple[str, ...]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A whole document. `configured`: address to attributes that the code sets; absent ones are not known.

    A name with `=` at its end is set to something that refers to nothing, all others refer to something.
    """
    resources = [
        {
            "address": entry["address"],
            "mode": "managed",
            "depends_on": list((depends_on or {}).get(entry["address"], ())),
        }
        for entry in changes
        if entry["change"]["actions"] != ["create"]
    ]
    declared = [
        {
            "address": address,
            "expressions": {
                name.rstrip("="): {} if name.endswith("=") else {"references": ["local.it"]} for name in names
            },
        }
        for address, names in (configured or {}).items()
    ]
    return {
        "format_version": "1.2",
        "resource_changes": list(changes),
        "resource_drift": list(drift),
        "output_changes": outputs or {},
        "prior_state": {"values": {"root_module": {"resources": resources}}},
        "planned_values": {"root_module": {}},
        "configuration": {"root_module": {"resources": declared}},
        "applyable": True,
        "complete": True,
        "errored": False,
        **more,
    }
