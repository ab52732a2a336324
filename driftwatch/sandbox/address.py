"""The provider's source address and version; a host under .local, so that no registry can ever serve it."""

from __future__ import annotations

HOST = "sandbox.driftwatch.local"
NAMESPACE = "driftwatch"
TYPE = "sandbox"
VERSION = "1.0.0"
ADDRESS = f"{HOST}/{NAMESPACE}/{TYPE}"
