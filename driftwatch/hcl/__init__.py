"""HCL: what files of Terraform and OpenTofu say, read without running anything, and edited in place.

Nothing outside of this package knows the grammar. It does no I/O: contents come in and go out as bytes.
"""

from driftwatch.hcl.reading import (
    FILE_FUNCTIONS,
    IN_THIS_MODULE,
    SUFFIXES,
    THIS_WORKSPACE,
    VALUES,
    Given,
    ModuleFacts,
    RemoteState,
    Uses,
    functions_in_text,
    is_configuration,
    is_local,
    is_read_by_itself,
    read_module,
    read_uses,
)

__all__ = [
    "FILE_FUNCTIONS",
    "IN_THIS_MODULE",
    "SUFFIXES",
    "THIS_WORKSPACE",
    "VALUES",
    "Given",
    "ModuleFacts",
    "RemoteState",
    "Uses",
    "functions_in_text",
    "is_configuration",
    "is_local",
    "is_read_by_itself",
    "read_module",
    "read_uses",
]
