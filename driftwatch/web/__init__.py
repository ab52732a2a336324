"""The person in the browser and other programs: health, readiness, metrics, and what Slack sends."""

from driftwatch.web.app import HealthSource, create_app
from driftwatch.web.server import Server

__all__ = ["HealthSource", "Server", "create_app"]
