"""Why the code wants something else than the cloud has, where nobody changed the cloud.

The verdict of a check is a function of its `Inputs` and the cloud. So what moved between the inputs of the
last check that was in sync (the baseline) and those of this one is why a difference is there now.

More than one input may have moved. The precedence, the most telling first:

1. `provider_upgrade`, where the resource's provider moved (its version; the lock file where no version is
   known) and the code did not, or where both moved and the code says nothing of that attribute: the new
   defaults of a new provider show in what nobody wrote down. A lock file lies in the code's own tree, so that
   an upgrade nearly always moves both.
2. `unapplied_commit`, where the code moved: the tree that the stack reads, or, with none known, the commit.
3. `input_change`, where variables or the results of data sources moved, and the attribute can have read them.
4. `state_edit`, where the state has another serial or lineage: somebody applied or edited elsewhere.
5. `undetermined`, where nothing is known to have moved. It still is pending.

None in an input means "not known" and is evidence of nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from driftwatch.model import Cause, Inputs

T = TypeVar("T")


def _moved(now: T | None, then: T | None) -> bool:
    return now is not None and then is not None and now != then


@dataclass(frozen=True, slots=True)
class Evidence:
    """The inputs of this check against those of the baseline, None where there is none."""

    inputs: Inputs
    baseline: Inputs | None

    def cause(self, provider: str | None, *, configured: bool = True, constant: bool = False) -> Cause:
        """The cause of one difference.

        `configured` where the code sets the attribute, `constant` where it reads no variable and no data.
        """
        upgraded = self._provider_moved(provider)
        if upgraded and not (self._code_moved and configured):
            return Cause.PROVIDER_UPGRADE
        if self._code_moved:
            return Cause.UNAPPLIED_COMMIT
        if self._inputs_moved and not constant:
            return Cause.INPUT_CHANGE
        return Cause.STATE_EDIT if self._state_moved else Cause.UNDETERMINED

    @property
    def compares(self) -> bool:
        """False where there is no earlier check to compare with."""
        return self.baseline is not None

    @property
    def nothing_moved(self) -> bool:
        """True where no input but the cloud is known to have moved."""
        upgraded = self._provider_moved(None)
        return not (upgraded or self._code_moved or self._inputs_moved or self._state_moved)

    @property
    def _then(self) -> Inputs:
        return self.baseline or Inputs()

    @property
    def _code_moved(self) -> bool:
        """A commit elsewhere in a monorepo leaves the stack's tree as it was and counts for nothing."""
        if self.inputs.tree is not None and self._then.tree is not None:
            return self.inputs.tree != self._then.tree
        return _moved(self.inputs.commit, self._then.commit)

    def _provider_moved(self, provider: str | None) -> bool:
        """By version where both checks know it, else by lock file. None stands for any provider."""
        now = self.inputs.engine.providers if self.inputs.engine else {}
        then = self._then.engine.providers if self._then.engine else {}
        known = (now.keys() & then.keys()) if provider is None else ({provider} & now.keys() & then.keys())
        if known:
            return any(now[name] != then[name] for name in known)
        return _moved(self.inputs.lock_file, self._then.lock_file)

    @property
    def _inputs_moved(self) -> bool:
        variables = _moved(self.inputs.variables, self._then.variables)
        return variables or _moved(self.inputs.data_reads, self._then.data_reads)

    @property
    def _state_moved(self) -> bool:
        lineage = _moved(self.inputs.state_lineage, self._then.state_lineage)
        return lineage or _moved(self.inputs.state_serial, self._then.state_serial)
