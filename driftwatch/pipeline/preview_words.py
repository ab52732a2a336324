"""What people say in a pull request, and what driftwatch's own comment remembers of it.

Pure. A command is the whole first line of a comment, and counts once: the comment of one's own names the last
comment that was heard, so that one which somebody edits afterwards commands nothing. What it remembers is
signed with the instance's key: whoever may edit comments can void it, which makes driftwatch look anew, and
cannot make it say that something was allowed. A digest of what people read in it is part of that: whoever
changes those words has them written anew, and nobody's approval is taken of them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING

from driftwatch.model import Right
from driftwatch.notify.render_preview import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from driftwatch.model import JsonValue, Remark
    from driftwatch.policy.rights import People, Person

_COMMAND = re.compile(r"/driftwatch[ \t]+(?P<verb>plan|approve)(?:[ \t]+(?P<what>[0-9A-Fa-f]{1,64}))?[ \t]*")
_FIELD = re.compile(r"(?P<key>[a-z]+)=(?P<value>[A-Za-z0-9_,-]*)")
_LONGEST_MARK = 16_000
_LONGEST_PACKED = 12_000
"""Characters of the stacks' names; of more than that, a restart does not know which have a status."""


class Verb(StrEnum):
    """What can be asked for."""

    PLAN = "plan"
    APPROVE = "approve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a comment asks for; `what` is the commit or the digest that it names, in small letters."""

    verb: Verb
    what: str | None = None


def command_of(body: str) -> Command | None:
    """The command that a comment is; None where it is none, quotes one, or says more on that line."""
    first = re.split(r"\r\n|\n|\r", body, maxsplit=1)[0]
    found = _COMMAND.fullmatch(first)
    if found is None:
        return None
    what = found["what"]
    return Command(verb=Verb(found["verb"]), what=what.lower() if what else None)


# ---- what is remembered ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Memo:
    """What the comment remembers.

    `head` and `base` are the commits it is of, `inputs` a digest over what was planned there, `digest` what
    an approval names, `remark` the last comment that was heard. `permits` are the people who let it be
    planned, `approved` those who approved, by their names in the configuration; `unheard` whether somebody
    asked without the right. `stacks` are those that have a status of their own at that head.
    """

    step: Step
    head: str
    base: str = ""
    inputs: str = ""
    digest: str = ""
    remark: int = 0
    permits: tuple[str, ...] = ()
    approved: tuple[str, ...] = ()
    unheard: bool = False
    stacks: tuple[str, ...] = ()


def mark_of(repository: str) -> str:
    """How the comment begins, by which it is found again: one for each repository of the configuration."""
    return f"<!-- driftwatch:preview {repository} "


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """What the own comment remembers, and its text; `intact` is whether that is as driftwatch has written it.

    `memo` is None where there is none, or somebody has edited what is remembered.
    """

    memo: Memo | None = None
    body: str = ""
    intact: bool = True


def written(memo: Memo, repository: str, number: int, sign: Callable[[JsonValue], str], rest: str) -> str:
    """The first line of the comment; `rest` is what follows it."""
    said = {**_said(memo), "text": _digest(rest)}
    pairs = " ".join(f"{key}={value}" for key, value in said.items())
    return f"{mark_of(repository)}{pairs} seal={sign(_sealed(said, repository, number))} -->"


def remembered(
    remarks: Iterable[Remark], repository: str, number: int, sign: Callable[[JsonValue], str]
) -> Recalled:
    """What the own comment remembers."""
    mark = mark_of(repository)
    own = next((each.body for each in remarks if each.own and each.body.startswith(mark)), "")
    line, _, rest = own.replace("\r\n", "\n").partition("\n")
    if not own or len(line) > _LONGEST_MARK:
        return Recalled(body=own)
    said = {each["key"]: each["value"] for each in _FIELD.finditer(line[len(mark) :])}
    seal = said.pop("seal", "")
    if seal != sign(_sealed(said, repository, number)):
        return Recalled(body=own)
    return Recalled(memo=_memo(said), body=own, intact=said.get("text") == _digest(rest))


def _digest(rest: str) -> str:
    """Of what people read, whatever a forge makes of the ends of its lines."""
    read = "\n".join(line.rstrip() for line in rest.replace("\r\n", "\n").split("\n")).strip()
    return hashlib.sha256(read.encode(errors="replace")).hexdigest()


def _said(memo: Memo) -> dict[str, str]:
    said = {each.name: _text(getattr(memo, each.name)) for each in fields(memo) if each.name != "stacks"}
    return {**said, "stacks": _packed(memo.stacks)}


def _packed(names: Sequence[str]) -> str:
    """Names of any characters, in those that a field may have."""
    if not names:
        return ""
    packed = base64.b32encode(zlib.compress(json.dumps(names).encode(), level=9)).decode().rstrip("=")
    return packed if len(packed) <= _LONGEST_PACKED else ""


def _unpacked(text: str) -> tuple[str, ...]:
    """Only of what was sealed. Raises ValueError for what is nothing of ours."""
    if not text:
        return ()
    try:
        names = json.loads(zlib.decompress(base64.b32decode(text + "=" * (-len(text) % 8))))
    except zlib.error as problem:
        raise ValueError("these are no names") from problem
    return tuple(map(str, names))


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return str(int(value)) if isinstance(value, bool) else str(value)


def _sealed(said: dict[str, str], repository: str, number: int) -> JsonValue:
    return {**said, "repository": repository, "number": number}


def _memo(said: dict[str, str]) -> Memo | None:
    """None where another version of driftwatch has written it: it is looked at anew."""
    try:
        return Memo(
            step=Step(said["step"]),
            head=said["head"],
            base=said["base"],
            inputs=said["inputs"],
            digest=said["digest"],
            remark=int(said["remark"]),
            permits=_names(said["permits"]),
            approved=_names(said["approved"]),
            unheard=said["unheard"] == "1",
            stacks=_unpacked(said["stacks"]),
        )
    except (KeyError, ValueError):
        return None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


# ---- who is heard ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What became of one command, for the audit and for the comment. `person` is None for a stranger."""

    remark: int
    login: str
    person: str | None
    command: Command
    outcome: str
    sentence: str = ""

    @property
    def is_taken(self) -> bool:
        return self.outcome in ("planned", "approved")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What commands are judged by: the pull request as it is, and what its approval would name.

    `scope` are the stacks that a right may be for, `to_approve` those of which something is to be approved.
    `authors` are the people whose change it is, by their names in the configuration; empty where they may
    approve as others do. `all_known` is whether these are surely all, and `altered` whether somebody has
    changed the words that would be approved.
    """

    kind: str
    host: str
    head: str
    digest: str
    scope: tuple[str, ...]
    to_approve: tuple[str, ...] = ()
    authors: frozenset[str] = field(default_factory=frozenset)
    all_known: bool = True
    altered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """All that was said since the last time, and what follows. `last` is the newest comment's id."""

    rulings: tuple[Ruling, ...] = ()
    last: int = 0

    @property
    def again(self) -> bool:
        """Whether somebody with the right wants it planned."""
        return any(each.outcome == "planned" for each in self.rulings)

    @property
    def permits(self) -> tuple[str, ...]:
        """Who with the right has named this very head."""
        return _people(each for each in self.rulings if each.outcome == "planned" and each.command.what)

    @property
    def approved(self) -> tuple[str, ...]:
        return _people(each for each in self.rulings if each.outcome == "approved")

    @property
    def unheard(self) -> bool:
        """Whether somebody asked, and nobody who did had the right."""
        refused = any(each.outcome in ("unknown_person", "no_right") for each in self.rulings)
        return refused and not any(each.is_taken for each in self.rulings)


def has_commands(remarks: Iterable[Remark], since: int) -> bool:
    """Whether there is anything to judge among the comments that came after the one of the id `since`."""
    return any(not each.own and each.id > since and _command_in(each) for each in remarks)


def hear(remarks: Iterable[Remark], since: int, people: People, case: Case) -> Heard:
    """Judges the commands among the comments that came after the one of the id `since`."""
    others = [each for each in remarks if not each.own]
    rulings = [
        _rule(each, command, people.on_forge(case.kind, each.author, case.host), case)
        for each in sorted(others, key=lambda remark: remark.id)
        if each.id > since and (command := _command_in(each)) is not None
    ]
    return Heard(rulings=tuple(rulings), last=max([since, *(each.id for each in others)]))


def _command_in(remark: Remark) -> Command | None:
    """None in one that was edited: whoever may edit comments must not speak for whoever wrote it."""
    return None if remark.edited else command_of(remark.body)


def _rule(remark: Remark, command: Command, person: Person | None, case: Case) -> Ruling:
    outcome, sentence = _outcome(command, person, case)
    return Ruling(
        remark=remark.id,
        login=remark.author,
        person=person.name if person else None,
        command=command,
        outcome=outcome,
        sentence=sentence,
    )


def _outcome(command: Command, person: Person | None, case: Case) -> tuple[str, str]:
    """A word for machines, and what is answered; nobody is answered who has no right."""
    if person is None:
        return "unknown_person", ""
    is_plan = command.verb is Verb.PLAN
    scope = case.scope if is_plan else (case.to_approve or case.scope)
    if not _may(person, Right.CHECK if is_plan else Right.APPROVE, scope):
        return "no_right", ""
    return _of_plan(command, person, case) if is_plan else _of_approval(command, person, case)


def _of_plan(command: Command, person: Person, case: Case) -> tuple[str, str]:
    if command.what is None or command.what == case.head:
        return "planned", ""
    if case.head.startswith(command.what):
        # Who pushes can make two commits that begin alike, and have one of them looked at.
        return "part_of_a_head", f"{person.name} has to name the head by its whole hash."
    return "another_head", f"{person.name} named a commit that is not the head of this pull request."


def _of_approval(command: Command, person: Person, case: Case) -> tuple[str, str]:
    if command.what is None or command.what != case.digest:
        return "another_digest", f"{person.name} approved something else than is shown here now."
    if case.altered:
        said = (
            "approved what somebody had changed here. It is written anew: please read it, and approve again."
        )
        return "altered_comment", f"{person.name} {said}"
    if person.name in case.authors and not case.all_known:
        said = "may have made this change: it cannot be told who all did, so that nobody's approval counts."
        return "authors_unknown", f"{person.name} {said}"
    if person.name in case.authors:
        return "own_change", f"{person.name} made this change: somebody else has to approve what it destroys."
    return "approved", ""


def _may(person: Person, right: Right, scope: Sequence[str]) -> bool:
    return any(person.may(right, stack) for stack in scope)


def _people(rulings: Iterable[Ruling]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.person for each in rulings if each.person))
