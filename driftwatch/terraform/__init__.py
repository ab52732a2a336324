"""terraform and tofu: found, chosen, run and read, and never trusted further than their plan document.

Place in the flow: a check of the pipeline calls `Planner.plan`, a repair an `Applier`, a daemon that starts
calls `sweep`. Only an `Applier` changes infrastructure and state: nothing else here has a command that could.
"""

from driftwatch.terraform.applies import ApplyState, Look, Unsaved
from driftwatch.terraform.applies import discard as discard_apply
from driftwatch.terraform.apply import Applier, Outcome, Prepared, Progress
from driftwatch.terraform.engines import PIN_FILES, Binary
from driftwatch.terraform.module import Sources, sources
from driftwatch.terraform.plain import Plain
from driftwatch.terraform.plan import Planner
from driftwatch.terraform.process import Ladder
from driftwatch.terraform.request import Attach, Place, Planned, PlanRequest
from driftwatch.terraform.runs import Started, sweep

__all__ = [
    "PIN_FILES",
    "Applier",
    "ApplyState",
    "Attach",
    "Binary",
    "Ladder",
    "Look",
    "Outcome",
    "Place",
    "Plain",
    "PlanRequest",
    "Planned",
    "Planner",
    "Prepared",
    "Progress",
    "Sources",
    "Started",
    "Unsaved",
    "discard_apply",
    "sources",
    "sweep",
]
