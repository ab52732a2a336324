"""The command line, as it is, but for three waits that a test has no time for.

A lease of a minute and the 40 s that a hung terraform is asked to end by itself are constants of the product
and no settings; everything else here is the real program in a process of its own.
"""

from __future__ import annotations

import os
from datetime import timedelta

from driftwatch.cli.main import main
from driftwatch.service.workers import Workers
from driftwatch.terraform import Ladder

if __name__ == "__main__":
    defaults = Workers.__init__.__kwdefaults__ or {}
    defaults["lease"] = timedelta(seconds=float(os.environ.get("TEST_LEASE", "3")))
    (Ladder.__init__.__kwdefaults__ or {}).update(first=1.0, second=1.0)
    main()
