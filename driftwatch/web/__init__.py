"""The person in the browser and other programs: health, readiness, metrics, the API, and what Slack sends."""

from driftwatch.web.app import HealthSource, create_app
from driftwatch.web.door import Door
from driftwatch.web.server import Server

__all__ = ["Door", "HealthSource", "Server", "create_app"]
