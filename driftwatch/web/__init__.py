"""The person in the browser and other programs: for now, health, readiness and metrics."""

from driftwatch.web.app import HealthSource, create_app
from driftwatch.web.server import Server

__all__ = ["HealthSource", "Server", "create_app"]
