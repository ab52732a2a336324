"""Why the code wants something else than the cloud has, where nobody changed the cloud.

The verdict of a check is a function of its `Inputs` and the cloud. So what moved between the inputs of the
last check that was in sync (the baseline) and those of this one is why a difference is there now.

More than one input may have moved. The precedence, the most telling first:

1. `provider_upgrade`, where the resource's provider moved (its version; the lock file where no version is
   known) and the code did not, or where both moved and the code says nothing of that attribute: the new
   defaults of a new provider show in what nobody wrote down. A lock file lies in the code's own tree, so that
   an upgrade nearly always moves both. Not where the code sets the attribute from an input that moved.
2. `unapplied_commit`, where the code moved: the tree that the stack reads, or, with none known, the commit.
   Not where the attribute has a text of a data source that it reads, which says something else than before
   to the same question: then it is an `input_change`.
3. `input_change`, where variables or the results of data sources moved, and the attribute can have read them.
4. `state_edit`, where the state has another serial or lineage: somebody applied or edited elsewhere.
5. `undetermined`, where nothing is known to have moved. It still is pending.

A resource whose provider configuration moved (another alias, another region) is looked for where it never
was: that it is not there, or is another, is nobody's doing by hand.

None in an input means "not known" and is evidence of nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from driftwatch.drift.plan import without_indexes
from driftwatch.model import Cause, Evidence, InputKind, Inputs, Movement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from driftwatch.model import ProviderConfiguration

T = TypeVar("T")

KEPT_MOVEMENTS = 10
"""Of a stack with a thousand variables whose key was changed, nobody reads the thousandth name."""

_REMOTE_STATE = "data.terraform_remote_state."
_SEEN_THROUGH = ("var.", "data.", "path.", "terraform.")
"""What an expression of the root module refers to without hiding what lies behind."""


def _moved(now: T | None, then: T | None) -> bool:
    return now is not None and then is not None and now != then


def _differing(now: Mapping[str, str] | None, then: Mapping[str, str] | None) -> tuple[str, ...]:
    """The names that both have and that differ: what came or went did so with the code, or is put off."""
    now, then = now or {}, then or {}
    return tuple(sorted(name for name in now.keys() & then.keys() if now[name] != then[name]))


def is_default(key: str) -> bool:
    """Whether the key of a provider configuration is that of the root module's own, without an alias."""
    return "." not in key and ":" not in key


@dataclass(frozen=True)
class Comparison:
    """The inputs of this check against those of the baseline, None where there is none."""

    inputs: Inputs
    baseline: Inputs | None

    def cause(
        self,
        provider: str | None,
        *,
        configured: bool = True,
        references: frozenset[str] | None = None,
        module: str = "",
        says: Callable[[Iterable[str]], bool] = lambda _reads: False,
    ) -> Cause:
        """The cause of one difference.

        `configured` where the code sets the attribute; `references` is what it refers to there, as seen from
        `module`, None where that is not known. `says` tells whether the difference has a text of one of some
        data sources.
        """
        upgraded = self._provider_moved(provider)
        if upgraded and not configured:
            return Cause.PROVIDER_UPGRADE
        if upgraded and not self.code_moved:
            by_input = self._is_seen_through(references, module) and self._input_moved(references, module)
            return Cause.INPUT_CHANGE if by_input else Cause.PROVIDER_UPGRADE
        if self.code_moved:
            reads = self._answered_otherwise(references, module)
            return Cause.INPUT_CHANGE if reads and says(reads) else Cause.UNAPPLIED_COMMIT
        if self._input_moved(references, module):
            return Cause.INPUT_CHANGE
        return Cause.STATE_EDIT if self.state_moved else Cause.UNDETERMINED

    def cause_of_place(self) -> Cause:
        """The cause of what a provider configuration that moved brings about."""
        if self.code_moved:
            return Cause.UNAPPLIED_COMMIT
        return Cause.INPUT_CHANGE if self._input_moved(None, "") else Cause.UNDETERMINED

    @property
    def compares(self) -> bool:
        """False where there is no earlier check to compare with."""
        return self.baseline is not None

    @property
    def nothing_moved(self) -> bool:
        """True where no input but the cloud is known to have moved."""
        upgraded = self._provider_moved(None)
        return not (upgraded or self.code_moved or self._input_moved(None, "") or self.state_moved)

    @property
    def code_moved(self) -> bool:
        """A commit elsewhere in a monorepo leaves the stack's tree as it was and counts for nothing."""
        if self.inputs.tree is not None and self._then.tree is not None:
            return self.inputs.tree != self._then.tree
        return _moved(self.inputs.commit, self._then.commit)

    @property
    def state_moved(self) -> bool:
        lineage = _moved(self.inputs.state_lineage, self._then.state_lineage)
        return lineage or _moved(self.inputs.state_serial, self._then.state_serial)

    def place_moved(self, address: str, source: str | None, *, before: str | None = None) -> bool | None:
        """Whether a resource is looked for elsewhere than it was. None: that may be, and nothing tells.

        `address` is a configuration address, `before` the one that it had, where it moved; `source` is the
        provider's.
        """
        then, now = self._places_then.of(before or address, source), self._places.of(address, source)
        if then is None or now is None:
            return False
        if (now.source, now.digest) != (then.source, then.digest):
            return True
        may_have = self.code_moved or self._input_moved(None, "")
        return None if now.opaque and may_have else False

    def evidence(
        self,
        address: str,
        source: str | None,
        *,
        references: frozenset[str] | None = None,
        module: str = "",
    ) -> Evidence | None:
        """What moved and may concern a resource; `source` is its provider, None for what has none.

        `references` and `module` are as for `cause`, for all that differs of it.
        """
        if self.baseline is None:
            return None
        inputs = self._inputs_of(references, module)
        found = [*self._of_code(source), *self._of_place(address, source), *inputs]
        kept = tuple(islice(found, KEPT_MOVEMENTS))
        state = (self._of_state(),) if self.state_moved else ()
        return Evidence(movements=(*kept, *state), more=len(found) - len(kept))

    @cached_property
    def _places(self) -> _Places:
        return _Places(self.inputs.provider_configurations)

    @cached_property
    def _places_then(self) -> _Places:
        return _Places(self._then.provider_configurations)

    @property
    def _then(self) -> Inputs:
        return self.baseline or Inputs()

    def _versions(self, provider: str | None) -> Iterator[tuple[str, str, str]]:
        """Provider, version then and version now, of those (or the one) that both checks know."""
        now = self.inputs.engine.providers if self.inputs.engine else {}
        then = self._then.engine.providers if self._then.engine else {}
        known = now.keys() & then.keys()
        for name in sorted(known if provider is None else known & {provider}):
            yield name, then[name], now[name]

    def _provider_moved(self, provider: str | None) -> bool:
        """By version where both checks know it, else by lock file. None stands for any provider."""
        versions = list(self._versions(provider))
        if versions:
            return any(then != now for _, then, now in versions)
        return _moved(self.inputs.lock_file, self._then.lock_file)

    def _input_moved(self, references: frozenset[str] | None, module: str) -> bool:
        """Whether a variable or data source moved that an expression can have read."""
        variables = _moved(self.inputs.variables, self._then.variables)
        reads = _moved(self.inputs.data_reads, self._then.data_reads)
        if not (variables or reads) or (references is not None and not references):
            return False
        return not self._is_seen_through(references, module) or bool(self._inputs_of(references, module))

    def _inputs_of(self, references: frozenset[str] | None, module: str) -> tuple[Movement, ...]:
        """The variables and data sources that moved and that an expression can have read."""
        if references is None or not self._is_seen_through(references, module):
            return self._of_inputs
        read = _whole(references)
        return tuple(each for each in self._of_inputs if any(_overlap(one, _reference(each)) for one in read))

    def _is_seen_through(self, references: frozenset[str] | None, module: str) -> bool:
        """Whether all that it reads is known by name. A module's variables are set by whoever calls it."""
        if references is None or module:
            return False
        told = None not in (
            self.inputs.variable_digests,
            self._then.variable_digests,
            self.inputs.read_digests,
            self._then.read_digests,
        )
        return told and all(each.startswith(_SEEN_THROUGH) for each in references)

    def _answered_otherwise(self, references: frozenset[str] | None, module: str) -> tuple[str, ...]:
        """The data sources that an expression refers to and that were asked the same and answer otherwise."""
        now, then = self.inputs.read_digests or {}, self._then.read_digests or {}
        prefixed = {f"{module}{each}" for each in _whole(references or ()) if each.startswith("data.")}
        return tuple(
            name
            for name in self._reads
            if any(_overlap(reference, name) for reference in prefixed)
            and _asked(now.get(name)) == _asked(then.get(name))
        )

    @cached_property
    def _variables(self) -> tuple[str, ...]:
        return _differing(self.inputs.variable_digests, self._then.variable_digests)

    @cached_property
    def _reads(self) -> tuple[str, ...]:
        return _differing(self.inputs.read_digests, self._then.read_digests)

    def _of_code(self, source: str | None) -> Iterator[Movement]:
        if self.code_moved:
            yield Movement(input=InputKind.COMMIT, before=self._then.commit, after=self.inputs.commit)
        versions = list(self._versions(source))
        for name, then, now in versions:
            if then != now:
                yield Movement(input=InputKind.PROVIDER, name=name, before=then, after=now)
        if not versions and self._provider_moved(source):
            yield Movement(input=InputKind.LOCK_FILE)
        engine, before = self.inputs.engine, self._then.engine
        if engine and before and (engine.name, engine.version) != (before.name, before.version):
            yield Movement(
                input=InputKind.ENGINE,
                before=f"{before.name} {before.version}",
                after=f"{engine.name} {engine.version}",
            )

    def _of_place(self, address: str, source: str | None) -> Iterator[Movement]:
        if self.place_moved(address, source):
            then, now = (each.name(address, source) for each in (self._places_then, self._places))
            yield Movement(input=InputKind.PROVIDER_CONFIGURATION, name=source, before=then, after=now)

    @cached_property
    def _of_inputs(self) -> tuple[Movement, ...]:
        variables = [Movement(input=InputKind.VARIABLE, name=name) for name in self._variables]
        return (*variables, *(Movement(input=_kind_of_read(name), name=name) for name in self._reads))

    def _of_state(self) -> Movement:
        is_other = _moved(self.inputs.state_lineage, self._then.state_lineage)
        then, now = self._then.state_serial, self.inputs.state_serial
        return Movement(
            input=InputKind.STATE,
            name="lineage" if is_other else "serial",
            before=None if then is None else str(then),
            after=None if now is None else str(now),
        )


def _asked(digest: str | None) -> str | None:
    """The part of a data source's digest that covers what it is asked."""
    return None if digest is None else digest.partition(":")[0]


def _whole(references: Iterable[str]) -> frozenset[str]:
    """References without those that only are the beginning of another: terraform lists both."""
    known = frozenset(references)
    return frozenset(
        each for each in known if not any(other.startswith((f"{each}.", f"{each}[")) for other in known)
    )


def _overlap(reference: str, name: str) -> bool:
    """Whether one of two paths lies at or below the other; instances count as all of their resource."""
    one, other = without_indexes(reference), without_indexes(name)
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _reference(moved: Movement) -> str:
    """How code refers to an input."""
    return f"var.{moved.name}" if moved.input is InputKind.VARIABLE else str(moved.name)


def _kind_of_read(name: str) -> InputKind:
    return InputKind.UPSTREAM_OUTPUT if _REMOTE_STATE in name else InputKind.DATA_READ


class _Places:
    """The provider configurations of one check, by who uses them."""

    def __init__(self, known: Mapping[str, ProviderConfiguration] | None) -> None:
        self._known = dict(known or {})
        self._listed = {each: key for key, one in self._known.items() for each in one.resources}
        self._defaults = {one.source: key for key, one in self._known.items() if is_default(key)}

    def of(self, address: str, source: str | None) -> ProviderConfiguration | None:
        """That which lists the resource, else its provider's default one."""
        key = self._key(address, source)
        return None if key is None else self._known[key]

    def name(self, address: str, source: str | None) -> str | None:
        """`aws.west (eu-west-1)`."""
        key = self._key(address, source)
        if key is None:
            return None
        region = self._known[key].region
        return f"{key} ({region})" if region else key

    def _key(self, address: str, source: str | None) -> str | None:
        return self._listed.get(address) or self._defaults.get(source or "")
