"""`driftwatch rules`: which rules are in force, and what they would have done to the findings so far."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.text import Text

from driftwatch.cli import terminal
from driftwatch.cli.clock import now
from driftwatch.cli.compose import opened_store, read_settings
from driftwatch.cli.formats import Listing, plain
from driftwatch.cli.stacks import print_json
from driftwatch.config.rule_files import shipped
from driftwatch.drift.rules import Fit, Rules
from driftwatch.errors import Exit, UsageError
from driftwatch.log import redact
from driftwatch.model import Cause, FindingStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from driftwatch.config.rules import Rule, RulesSettings
    from driftwatch.model import Finding, StoredFinding
    from driftwatch.store import Store

_PAGE = 1000
_EXAMPLES = 3
_EXAMPLES_OF_ONE = 100
"""With --rule: somebody looks at that rule."""

_DID = {"hides": "hidden", "counts": "made to count", "grades": "graded", "idle": "found as they are"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One rule as a person sees it; `says` are its selectors and what it does, as in its file."""

    id: str
    sort: str
    origin: str
    says: Mapping[str, Any]
    is_on: bool = True
    expires: date | None = None

    def has_expired(self, today: date) -> bool:
        return self.expires is not None and self.expires < today


@dataclass(slots=True)
class Tally:
    """What one rule would have done: findings that it fits, attributes by effect, findings left untold."""

    findings: int = 0
    untold: int = 0
    effects: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[StoredFinding, Fit]] = field(default_factory=list)


def list_rules(config: Path, form: Listing) -> int:
    """Prints every rule, one's own and the shipped ones, with what it says."""
    rules = listed(read_settings(config, os.environ).rules)
    today = now().date()
    if form is Listing.JSON:
        print_json({"rules": [_described(rule, today) for rule in rules]})
        return Exit.OK
    for rule in rules:
        terminal.stdout.print(_head(rule, today))
        terminal.stdout.print(terminal.indented(Text(plain(_words(rule.says)), "dim"), 4))
    return Exit.OK


def try_rules(config: Path, only: str | None, form: Listing) -> int:
    """Prints what each rule would have hidden, raised or graded of the findings that are stored.

    Expired rules and those that are off are tried too, and named as such.
    """
    settings = read_settings(config, os.environ)
    rules = [rule for rule in listed(settings.rules) if only in (None, rule.id)]
    if not rules:
        raise UsageError(f"no rule {only}", advice="`driftwatch rules list` shows their ids.")
    examples = _EXAMPLES if only is None else _EXAMPLES_OF_ONE
    with opened_store(settings) as store:
        seen, tallies = _tallied(
            store, Rules.compile(_with_all_switches(settings.rules), shipped()), examples
        )
    if form is Listing.JSON:
        tried = [_tried(rule, tallies.get(rule.id, Tally()), now().date()) for rule in rules]
        print_json({"findings": seen, "rules": tried})
    else:
        _show(rules, seen, tallies, everything=only is not None)
    return Exit.OK


def listed(settings: RulesSettings) -> list[Listed]:
    """Every rule: one's own first, in the order of the file, then the shipped ones."""
    own = [
        *(_own(rule, "ignore") for rule in settings.ignore),
        *(_own(rule, "watch") for rule in settings.watch),
        *(_own(rule, "severity") for rule in settings.severity),
    ]
    switched_on, files = settings.noise.model_dump(), shipped()
    noise = [
        Listed(
            id=f"noise:{rule.id}",
            sort="noise",
            origin="shipped",
            says=_said(rule),
            is_on=rule.switch is None or switched_on[rule.switch],
        )
        for rule in files.noise.rules
    ]
    severity = [
        Listed(id=f"severity:{rule.id}", sort="severity", origin="shipped", says=_said(rule))
        for rule in files.severity.rules
    ]
    return [*own, *noise, *severity]


def _own(rule: Rule, sort: str) -> Listed:
    return Listed(id=rule.id, sort=sort, origin="configuration", says=_said(rule), expires=rule.expires)


def _said(rule: Any) -> dict[str, Any]:
    said: dict[str, Any] = _clean(rule.model_dump(mode="json", exclude={"id"}, exclude_unset=True))
    return said


def _clean(value: Any) -> Any:
    """Without secrets: any text of the configuration may have come from a reference."""
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return redact(value) if isinstance(value, str) else value


def _with_all_switches(settings: RulesSettings) -> RulesSettings:
    """So that one sees what a rule that is off would do."""
    switches = type(settings.noise)(**dict.fromkeys(type(settings.noise).model_fields, True))
    return settings.model_copy(update={"noise": switches})


def _tallied(store: Store, rules: Rules, examples: int) -> tuple[int, dict[str, Tally]]:
    """How many findings there are, and a tally for every rule that fits any; expired rules among them."""
    tallies: dict[str, Tally] = {}
    seen = 0
    for item in _history(store):
        seen += 1
        _count(tallies, item, tuple(rules.fits(item.finding, stack=item.stack, today=None)), examples)
    return seen, tallies


def _history(store: Store) -> Iterator[StoredFinding]:
    """All findings that are kept, noise and resolved ones too, as they were last seen."""
    after: int | None = None
    while True:
        page = store.findings(statuses=tuple(FindingStatus), counted=None, limit=_PAGE, after=after)
        yield from page.items
        if page.next is None:
            return
        after = page.next


def _count(tallies: dict[str, Tally], item: StoredFinding, fits: Sequence[Fit], examples: int) -> None:
    for rule in dict.fromkeys(fit.rule for fit in fits):
        tally = tallies.setdefault(rule, Tally())
        own = [fit for fit in fits if fit.rule == rule]
        tally.findings += 1
        tally.untold += _leaves_nothing(item.finding, own)
        tally.effects.update(fit.effect for fit in own)
        tally.examples += [(item, fit) for fit in own][: examples - len(tally.examples)]


def _leaves_nothing(finding: Finding, fits: Iterable[Fit]) -> bool:
    """Whether one rule hides all that would have been told of a finding."""
    hidden = {fit.path for fit in fits if fit.effect == "hides"}
    telling = {attribute.path for attribute in finding.attributes if attribute.cause is not Cause.NOISE}
    explained = {Cause.NOISE, *(attribute.cause for attribute in finding.attributes)}
    return bool(hidden) and telling <= hidden and set(finding.causes) <= explained


def _described(rule: Listed, today: date) -> dict[str, Any]:
    return {
        "id": rule.id,
        "sort": rule.sort,
        "origin": rule.origin,
        "on": rule.is_on,
        "expired": rule.has_expired(today),
        "says": rule.says,
    }


def _tried(rule: Listed, tally: Tally, today: date) -> dict[str, Any]:
    return {
        **_described(rule, today),
        "unused": rule.is_on and not tally.findings,
        "findings": tally.findings,
        "untold": tally.untold,
        "attributes": {effect: tally.effects[effect] for effect in _DID},
        "examples": [
            {
                "finding": item.id,
                "stack": str(item.stack),
                "address": item.finding.address,
                "path": fit.path,
                "effect": fit.effect,
            }
            for item, fit in tally.examples
        ],
    }


def _show(rules: Sequence[Listed], seen: int, tallies: Mapping[str, Tally], *, everything: bool) -> None:
    """Shipped rules that fit nothing are no news: they are for other people's resources."""
    today = now().date()
    terminal.stdout.print(f"{seen} findings in store.")
    for rule in rules:
        tally = tallies.get(rule.id)
        if tally:
            _show_tally(rule, tally, today)
        elif everything or rule.origin == "configuration":
            terminal.stdout.print(_head(rule, today).append("  unused: fits no finding", "yellow"))


def _show_tally(rule: Listed, tally: Tally, today: date) -> None:
    did = ", ".join(
        f"{tally.effects[effect]} {words}" for effect, words in _DID.items() if tally.effects[effect]
    )
    terminal.stdout.print(_head(rule, today))
    untold = f"; {tally.untold} of them left untold" if tally.untold else ""
    terminal.stdout.print(f"    fits {tally.findings} findings{untold}; attributes: {did}")
    for item, fit in tally.examples:
        where = f"{item.finding.address}{' ' + fit.path if fit.path else ''}"
        terminal.stdout.print(Text(f"      {plain(str(item.stack))}  {plain(where)}", "dim"))


def _head(rule: Listed, today: date) -> Text:
    head = Text.assemble((plain(rule.id), "bold"), f"  {rule.sort}, {rule.origin}")
    if not rule.is_on:
        head.append("  off", "yellow")
    if rule.has_expired(today):
        head.append(f"  expired on {rule.expires}", "yellow")
    return head


def _words(says: Mapping[str, Any]) -> str:
    return "; ".join(f"{key}: {_word(value)}" for key, value in says.items())


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_word(item)}" for key, item in value.items()) + "}"
    return ", ".join(map(_word, value)) if isinstance(value, list) else str(value)
