"""What stands in the way of a proposal, as far as it can be told without the daemon.

Only admission decides (`driftwatch.policy.admission`), in the daemon and with a plan of its own. This says
beforehand what a person who has just decided would otherwise learn from it seconds later: so few steps, in
its order, from what is written down.
"""

from __future__ import annotations

from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING

from driftwatch.cli.repair_lines import pin_sentence, suspension_sentence
from driftwatch.model import Hold, ProposalKind
from driftwatch.pipeline.admissions import USUAL_SECONDS
from driftwatch.policy.admission import NO_WINDOW
from driftwatch.policy.authors import only_authors
from driftwatch.policy.rights import People
from driftwatch.policy.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from driftwatch.config.settings import Settings
    from driftwatch.model import Proposal, StackId
    from driftwatch.store import Store


def in_the_way(store: Store, settings: Settings, proposal: Proposal, at: datetime) -> Hold | None:
    """What would hold a proposal that people approved; None where nothing is known of."""
    return (
        _too_few(settings, proposal)
        or _suspended(store, proposal, at)
        or _windows(store, settings, proposal.draft.stack, at)
        or _only_the_author(settings, proposal)
    )


def _too_few(settings: Settings, proposal: Proposal) -> Hold | None:
    needed, given = settings.repair.approvals.needed, len(proposal.approvers)
    if given >= needed:
        return None
    sentence = f"{needed} people have to approve it, and {given} did."
    return Hold(reason="too_few_approvals", sentence=sentence)


def _suspended(store: Store, proposal: Proposal, at: datetime) -> Hold | None:
    draft = proposal.draft
    suspension = store.suspension_of(draft.stack, at)
    if suspension is not None:
        sentence = f"{suspension_sentence(suspension)}."
        return Hold(reason="suspended", sentence=sentence, until=suspension.until)
    pin = store.pins().get(draft.stack)
    moves_on = draft.kind in (ProposalKind.ROLLBACK, ProposalKind.DEPLOY)  # approved by a person, as it is
    if pin is None or pin.commit == draft.commit or moves_on:
        return None
    return Hold(reason="pinned", sentence=f"The stack is {pin_sentence(pin)}.")


def _windows(store: Store, settings: Settings, stack: StackId, at: datetime) -> Hold | None:
    status = store.status_of(stack, at)
    labels: Mapping[str, str] = status.labels if status else {}
    ruling = Windows.compile(settings.windows).rule(str(stack), labels, at, needs=_expected(store, stack))
    if ruling.allowed or ruling.reason == NO_WINDOW:  # a person needs none
        return None
    how = " `proposals apply` with --override-window and a --reason goes on in spite of it."
    sentence = ruling.sentence + (how if ruling.manual else "")
    return Hold(reason=ruling.reason, sentence=sentence, until=ruling.until)


def _expected(store: Store, stack: StackId) -> timedelta:
    """As admission expects it: as long as nineteen of twenty earlier applies took."""
    took = sorted(store.apply_seconds(stack))
    return timedelta(seconds=took[ceil(len(took) * 0.95) - 1] if took else USUAL_SECONDS)


def _only_the_author(settings: Settings, proposal: Proposal) -> Hold | None:
    people = People.compile(settings.users).by_name
    wanted = settings.repair.approvals.not_by_author
    if not wanted or not only_authors(proposal.approvers, proposal, people):
        return None
    sentence = "Only who made the change has approved it; somebody else has to."
    return Hold(reason="approved_by_author", sentence=sentence)
