"""The daemon: when checks happen, who does them, and how all of it starts and stops.

    scheduler, pollers → intake → queue → workers → `Work.check`

Place in the flow: below `cli`, which makes a `Daemon` of the parts; beside `web`, which shows its `health`.
It knows the store, the pipeline, the sender and the web server only by the protocols in `ports`, and it
never runs terraform or git itself.
"""

from driftwatch.service.daemon import Daemon
from driftwatch.service.health import Health
from driftwatch.service.lock import Holder, StateLock, last_holder, node_name
from driftwatch.service.ports import Checked
from driftwatch.service.systemd import Notifier

__all__ = ["Checked", "Daemon", "Health", "Holder", "Notifier", "StateLock", "last_holder", "node_name"]
