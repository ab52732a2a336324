"""The person in the browser and other programs: health, readiness, metrics, the API, and what others send."""

from driftwatch.web.app import HealthSource, create_app
from driftwatch.web.door import Door
from driftwatch.web.hooks import Hooks
from driftwatch.web.server import Server

__all__ = ["Door", "HealthSource", "Hooks", "Server", "create_app"]
