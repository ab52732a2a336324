"""terraform and tofu: found, chosen, run and read, and never trusted further than their plan document.

Place in the flow: a check of the pipeline calls `Planner.plan`, a daemon that starts calls `sweep`.
Nothing here changes infrastructure or state: the commands that could are not on its list.
"""

from driftwatch.terraform.engines import PIN_FILES, Binary
from driftwatch.terraform.module import Sources, sources
from driftwatch.terraform.plain import Plain
from driftwatch.terraform.plan import Planner
from driftwatch.terraform.process import Ladder
from driftwatch.terraform.request import Attach, Place, Planned, PlanRequest
from driftwatch.terraform.runs import sweep

__all__ = [
    "PIN_FILES",
    "Attach",
    "Binary",
    "Ladder",
    "Place",
    "Plain",
    "PlanRequest",
    "Planned",
    "Planner",
    "Sources",
    "sources",
    "sweep",
]
