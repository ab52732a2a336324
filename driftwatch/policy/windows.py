"""Windows: when repairs may be applied without a person, and when they must not be. Pure: no clock, no I/O.

A window is a set of absolute intervals `[begins, ends)` from a cron expression and a length, or from one pair
of local times. An active deny beats any allow; where no allow is for a stack, an automatic apply waits. With
the time that an apply is expected to take, it may begin only where what allows it lasts so long.

Across daylight-saving changes, in the window's own zone, and as for schedules:

- an opening lasts for its length in elapsed time, whatever the clock shows meanwhile;
- a start that does not exist happens at the first instant that does (once, if several fall there);
- a start that happens twice happens the first time only, unless the hour field has a `*`: such a window means
  elapsed time, and a freeze made of hours would have a hole of one.

Openings of one window that overlap or touch are one. Nothing here walks through time minute by minute: a
day's openings are known as a pattern, and only the two days a year on which clocks change are worked out.
The search ahead ends after `IN_SIGHT`: whoever asks again later sees further.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from calendar import monthrange
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from functools import lru_cache
from heapq import merge
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from croniter import croniter

from driftwatch.config import zones
from driftwatch.config.durations import LONGEST, format_duration
from driftwatch.config.patterns import is_among

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from driftwatch.config.settings import WindowSettings

IN_SIGHT = timedelta(days=366)
"""How far the search goes for the end of what goes on and on, and for an opening that is long enough."""

SINCE_EVER = datetime(2, 1, 1, tzinfo=UTC)
"""In place of a begin at the edge of the calendar, but a time of which every zone has its own."""

FOR_GOOD = datetime.max.replace(tzinfo=UTC)
"""In place of an end that is not in sight."""

_A_DAY = timedelta(days=1)
_A_SECOND = timedelta(seconds=1)
_NOTHING = timedelta()
_TICK = datetime.resolution
_LONGEST_WAIT_FOR_A_DAY = 60
"""Years; the configuration refuses a cron expression that names no day in fifty."""

_Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One interval of a window, `[begins, ends)` in UTC.

    What has been open for longer than IN_SIGHT begins where the search ended; an end that is not in sight is
    FOR_GOOD.
    """

    window: str
    kind: str
    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A time in which another configuration has a window open (`opens`) or not (else), unlike this one."""

    window: str
    kind: str
    begins: datetime
    ends: datetime
    opens: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """Whether an automatic apply may begin now, and why.

    `reason` is one of in_window, deny_window, outside_window, no_window, does_not_fit. `window` is the one
    that decides: the allow or deny that is open, of several the one that is open longest; outside, the allow
    that opens next.

    `until` is the first instant at which `allowed` or `reason` is another, None where none is in sight. With
    two exceptions, for which time is measured: where it does not fit, it is when it does; and where it is
    allowed, it is the last moment at which it still fits.

    `manual` is whether a person with the right to may go ahead all the same: whatever stands against it says
    so.
    """

    allowed: bool
    reason: str
    window: str | None
    until: datetime | None
    sentence: str
    manual: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """All windows, compiled from the settings once."""

    all: tuple[_Window, ...] = ()

    @classmethod
    def compile(cls, settings: Sequence[WindowSettings]) -> Windows:
        """From the section `windows`, which the configuration has validated."""
        return cls(all=tuple(_Window.compile(window) for window in settings))

    def rule(
        self, stack: str, labels: Mapping[str, str], at: datetime, *, needs: timedelta | None = None
    ) -> Ruling:
        """Whether an automatic apply of a stack, given by its id, may begin at an instant.

        `needs` is how long it is expected to take. Raises ValueError for a time without a zone.
        """
        at, needs = _utc(at), max(needs or _NOTHING, _NOTHING)
        mine = self._of(stack, labels)
        allows = [window for window in mine if window.kind == "allow"]
        denies = [window for window in mine if window.kind == "deny"]
        denied = next(_union(denies, at), None)
        if denied and denied[0] <= at:
            return _denied(denies, at, denied[1])
        forbidden = denied[0] if denied else FOR_GOOD
        if not allows:
            return _without_a_window(forbidden)
        allowed = next(_union(allows, at), None)
        if allowed is None or allowed[0] > at:
            return _outside(allows, allowed[0] if allowed else FOR_GOOD, forbidden)
        closes = min(allowed[1], forbidden)
        if closes - at < needs:
            return _too_short(allows, denies, at, closes, needs)
        return _allowed(allows, at, closes, needs)

    def openings(
        self,
        *,
        after: datetime,
        until: datetime,
        stack: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Iterator[Opening]:
        """The openings that reach into `[after, until)`, whole, in the order in which they begin.

        Those that open at `after` or are open then are among them. With `stack`, only those of its windows.
        """
        after, until = _utc(after), _utc(until)
        mine = self.all if stack is None else self._of(stack, labels or {})
        found = merge(*(window.openings(after) for window in mine), key=lambda opening: opening.begins)
        return takewhile(lambda opening: opening.begins < until, found)

    def next_edge(self, after: datetime) -> datetime | None:
        """The first instant later than `after` at which any window opens or closes, if there is one."""
        after = _utc(after)
        edges = (
            begins if begins > after else ends
            for window in self.all
            for begins, ends in islice(window.spans(after), 1)
        )
        return min((edge for edge in edges if edge != FOR_GOOD), default=None)

    def changes(self, other: Windows, *, after: datetime, until: datetime) -> list[Change]:
        """What `other` opens and closes, unlike these windows, in `[after, until)`; cut to it, in order.

        A window of which something else has changed, for whom it is or what it says, counts as another one:
        the old one's openings are gone, the new one's are there.
        """
        after, until = _utc(after), _utc(until)
        before, now = (
            {window.meaning: window.within(after, until) for window in windows.all}
            for windows in (self, other)
        )
        gone = (
            _changes(meaning, spans, now.get(meaning, ()), opens=False) for meaning, spans in before.items()
        )
        new = (
            _changes(meaning, spans, before.get(meaning, ()), opens=True) for meaning, spans in now.items()
        )
        return sorted(chain(*gone, *new), key=lambda change: (change.begins, change.window, change.opens))

    def _of(self, stack: str, labels: Mapping[str, str]) -> list[_Window]:
        return [window for window in self.all if window.is_for(stack, labels)]


# ---- rulings -------------------------------------------------------------------------------------------


def _denied(denies: Sequence[_Window], at: datetime, ends: datetime) -> Ruling:
    active = _open_at(denies, at)
    names = ", ".join(window.name for window in active)
    return Ruling(
        allowed=False,
        reason="deny_window",
        window=active[0].name,
        until=_in_sight(ends),
        sentence=f"{_windows(active)} {names} {'forbids' if len(active) == 1 else 'forbid'} it"
        f"{_until(ends, active[0])}.",
        manual=all(window.manual for window in active),
    )


def _without_a_window(forbidden: datetime) -> Ruling:
    return Ruling(
        allowed=False,
        reason="no_window",
        window=None,
        until=_in_sight(forbidden),
        sentence="No window allows it for this stack, so it waits for a person.",
        manual=True,
    )


def _outside(allows: Sequence[_Window], opens: datetime, forbidden: datetime) -> Ruling:
    opening = _open_at(allows, opens) if opens != FOR_GOOD else []
    if not opening:
        then = "none opens any more"
    else:
        then = f"window {opening[0].name} opens on {opening[0].clock(opens)}"
        if forbidden <= opens:
            then += f", and on {opening[0].clock(forbidden)} one begins that forbids it"
    return Ruling(
        allowed=False,
        reason="outside_window",
        window=opening[0].name if opening else None,
        until=_in_sight(min(opens, forbidden)),
        sentence=f"No window that allows it is open; {then}.",
        manual=all(window.manual for window in allows),
    )


def _too_short(
    allows: Sequence[_Window], denies: Sequence[_Window], at: datetime, closes: datetime, needs: timedelta
) -> Ruling:
    active = _open_at(allows, at)
    fits = _next_that_fits(allows, denies, at, needs)
    left, wanted = format_duration((closes - at) // _A_SECOND * _A_SECOND), format_duration(needs)
    then = f"it fits on {active[0].clock(fits)}" if fits else "it never fits within a year"
    overrun = [window for window in denies if any(window.spans_in(closes, _later(at, needs)))]
    return Ruling(
        allowed=False,
        reason="does_not_fit",
        window=active[0].name,
        until=fits,
        sentence=f"Window {active[0].name} allows it for {left} more, and it takes {wanted}; {then}.",
        manual=all(window.manual for window in (*allows, *overrun)),
    )


def _next_that_fits(
    allows: Sequence[_Window], denies: Sequence[_Window], at: datetime, needs: timedelta
) -> datetime | None:
    """When an apply may begin next that does not fit into what is left of the opening at `at`."""
    last = _later(at, IN_SIGHT)
    ahead = takewhile(lambda span: span[0] <= last, _union(allows, at))
    return next(
        (
            begins
            for begins, ends in _without(ahead, _union(denies, at))
            if at < begins <= last and ends - begins >= needs
        ),
        None,
    )


def _allowed(allows: Sequence[_Window], at: datetime, closes: datetime, needs: timedelta) -> Ruling:
    window = _open_at(allows, at)[0]
    begin = closes if closes == FOR_GOOD else closes - needs
    said = f"Window {window.name} allows it{_until(closes, window)}"
    if needs and begin != FOR_GOOD:
        said += f"; it has to begin by {window.clock(begin)}"
    return Ruling(
        allowed=True,
        reason="in_window",
        window=window.name,
        until=_in_sight(begin),
        sentence=f"{said}.",
        manual=True,
    )


def _open_at(windows: Iterable[_Window], at: datetime) -> list[_Window]:
    """Those that are open, the one first that is open longest."""
    ends = [(window, span[1]) for window in windows if (span := window.times.open_at(at))]
    return [window for window, _ in sorted(ends, key=lambda found: found[1], reverse=True)]


def _windows(windows: Sequence[_Window]) -> str:
    return "Window" if len(windows) == 1 else "Windows"


def _until(ends: datetime, window: _Window) -> str:
    return ", and no end is in sight" if ends == FOR_GOOD else f" until {window.clock(ends)}"


def _in_sight(at: datetime) -> datetime | None:
    return None if at == FOR_GOOD else at


def _changes(
    meaning: _Meaning, mine: Sequence[_Span], theirs: Sequence[_Span], *, opens: bool
) -> Iterator[Change]:
    for begins, ends in _without(mine, iter(theirs)):
        yield Change(window=meaning.name, kind=meaning.kind, begins=begins, ends=ends, opens=opens)


# ---- windows -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meaning:
    """All of a window but its times: what it says, and to whom."""

    name: str
    kind: str
    stacks: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    manual: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Window:
    meaning: _Meaning
    zone: ZoneInfo
    times: _Recurring | _Once

    @classmethod
    def compile(cls, settings: WindowSettings) -> _Window:
        zone = ZoneInfo(settings.timezone)
        meaning = _Meaning(
            name=settings.name,
            kind=settings.kind,
            stacks=settings.stacks,
            labels=tuple(sorted(settings.labels.items())),
            manual=settings.manual,
        )
        return cls(meaning=meaning, zone=zone, times=_times(settings, zone))

    @property
    def name(self) -> str:
        return self.meaning.name

    @property
    def kind(self) -> str:
        return self.meaning.kind

    @property
    def manual(self) -> bool:
        return self.meaning.manual

    def is_for(self, stack: str, labels: Mapping[str, str]) -> bool:
        return is_among(stack, self.meaning.stacks) and all(
            labels.get(name) == value for name, value in self.meaning.labels
        )

    def spans(self, after: datetime) -> Iterator[_Span]:
        """When it is open, from what is open at `after` on; that one begins at `after` or earlier."""
        if now := self.times.open_at(after):
            after = self.times.end_of(now)
            yield now[0], after
        if after != FOR_GOOD:
            yield from _joined(self.times.following(after), _later(after, IN_SIGHT))

    def spans_in(self, after: datetime, until: datetime) -> Iterator[_Span]:
        return takewhile(lambda span: span[0] < until, self.spans(after))

    def within(self, after: datetime, until: datetime) -> list[_Span]:
        """When it is open, cut to `[after, until)`."""
        return [(max(begins, after), min(ends, until)) for begins, ends in self.spans_in(after, until)]

    def openings(self, after: datetime) -> Iterator[Opening]:
        for begins, ends in self.spans(after):
            since = self._since(begins, _earlier(after, IN_SIGHT)) if begins <= after else begins
            yield Opening(window=self.name, kind=self.kind, begins=since, ends=ends)

    def _since(self, begins: datetime, earliest: datetime) -> datetime:
        """When that really began which is open at `begins`: what went before may reach into it."""
        while begins > earliest and (before := self.times.open_at(begins - _TICK)):
            begins = before[0]
        return begins

    def clock(self, at: datetime) -> str:
        """An instant as the window's own clock shows it, and in UTC."""
        utc = f"{_shown(at)} UTC"
        return (
            utc if self.zone.key == "UTC" else f"{_shown(zones.wall(at, self.zone))} {self.zone.key} ({utc})"
        )


def _shown(at: datetime) -> str:
    whole = not (at.second or at.microsecond)
    return at.replace(tzinfo=None).isoformat(" ", timespec="minutes" if whole else "seconds")


def _times(settings: WindowSettings, zone: ZoneInfo) -> _Recurring | _Once:
    if settings.cron is not None and settings.duration is not None:
        return _Recurring.compile(settings.cron, settings.duration, zone)
    if settings.from_ is not None and settings.to is not None:
        return _Once(opens=_moment(settings.from_, zone), closes=_moment(settings.to, zone))
    raise ValueError(f"window {settings.name} names no time")


def _moment(local: datetime, zone: ZoneInfo) -> datetime:
    """A year at the edge of the calendar is how people write `for ever`."""
    if local.year >= MAXYEAR - 1:
        return FOR_GOOD
    return SINCE_EVER if local.year <= 2 else zones.first_instant(local, zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Once:
    """One interval; where both ends fall into the same gap, it is empty."""

    opens: datetime
    closes: datetime

    def open_at(self, at: datetime) -> _Span | None:
        return (self.opens, self.closes) if self.opens <= at < self.closes else None

    def end_of(self, run: _Span) -> datetime:
        return run[1]

    def following(self, at: datetime) -> Iterator[_Span]:
        if at < self.opens < self.closes:
            yield self.opens, self.closes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Recurring:
    """Openings from a cron expression.

    `starts` are times of day. `begins` and `ends` are those of a day on which the clock goes evenly, measured
    from its midnight, with openings that overlap or touch as one.
    """

    zone: ZoneInfo
    days: _Days
    starts: tuple[timedelta, ...]
    length: timedelta
    each_hour: bool
    begins: tuple[timedelta, ...]
    ends: tuple[timedelta, ...]

    @classmethod
    def compile(cls, expression: str, length: timedelta, zone: ZoneInfo) -> _Recurring:
        fields: Any = croniter(expression)
        minutes, hours = _numbers(fields.expanded[0], range(60)), _numbers(fields.expanded[1], range(24))
        starts = tuple(timedelta(hours=hour, minutes=minute) for hour in hours for minute in minutes)
        begins, ends = _runs(starts, length)
        return cls(
            zone=zone,
            days=_days_named(" ".join(expression.split()[2:])),
            starts=starts,
            length=length,
            each_hour="*" in fields.expressions[1] or "*" in fields.expanded[1],
            begins=begins,
            ends=ends,
        )

    @property
    def closes(self) -> datetime:
        """When it closes for good: one does not wait for it."""
        return SINCE_EVER

    def open_at(self, at: datetime) -> _Span | None:
        """The opening of a day that is open at `at`, without those that reach into it or follow on it."""
        today = zones.wall(at, self.zone).date()
        earliest = today - timedelta(days=self.length.days + 3)
        # From the day after on: a clock that is put back over midnight shows today once more. And two that
        # have begun, as then the later day's may have begun earlier.
        days = takewhile(lambda day: day >= earliest, self.days.back_from(today + _A_DAY))
        begun = (run for day in days if (run := self._last_begun(day, at)))
        run = max(islice(begun, 2), key=lambda run: run[1], default=None)
        return run if run and at < run[1] else None

    def end_of(self, run: _Span) -> datetime:
        """When it closes that has opened with `run`."""
        return _end_of(self, run)

    def following(self, at: datetime) -> Iterator[_Span]:
        """The openings that begin after `at`, in order, day by day."""
        held: list[_Span] = []
        for day in self.days.onward_from(zones.wall(at, self.zone).date() - _A_DAY):
            midnight, begins, ends = self._day(day)
            first = bisect_right(begins, at - midnight)
            runs = (
                (midnight + begin, midnight + end)
                for begin, end in zip(begins[first:], ends[first:], strict=True)
            )
            if begins is self.begins:
                yield from merge(held, runs)
                held = []
            else:  # its clock may be put back over midnight, behind the first opening of the day after
                held = list(merge(held, runs))
        yield from held

    def _last_begun(self, day: date, at: datetime) -> _Span | None:
        midnight, begins, ends = self._day(day)
        place = bisect_right(begins, at - midnight) - 1
        return (midnight + begins[place], midnight + ends[place]) if place >= 0 else None

    def _day(self, day: date) -> tuple[datetime, tuple[timedelta, ...], tuple[timedelta, ...]]:
        """A day's openings, measured from an instant."""
        midnight = _even_midnight(self.zone, day)
        if midnight is not None:
            return midnight, self.begins, self.ends
        return (datetime.combine(day, time(), UTC), *_uneven_day(self, day))


@lru_cache(maxsize=4096)
def _end_of(times: _Recurring, run: _Span) -> datetime:
    _, ends = next(_joined(chain([run], times.following(run[0])), run[0]))
    return ends


@lru_cache(maxsize=65536)
def _even_midnight(zone: ZoneInfo, day: date) -> datetime | None:
    """When a day begins through which the clock goes evenly; None for one on which it is changed."""
    ends = (datetime.combine(at, time(), zone) for at in (day, day + _A_DAY))
    offsets = {end.replace(fold=fold).utcoffset() for end in ends for fold in (0, 1)}
    return datetime.combine(day, time(), zone).astimezone(UTC) if len(offsets) == 1 else None


@lru_cache(maxsize=1024)
def _uneven_day(times: _Recurring, day: date) -> tuple[tuple[timedelta, ...], tuple[timedelta, ...]]:
    """The openings of a day on which clocks are changed, measured as if its midnight were one of UTC."""
    midnight, base = datetime.combine(day, time()), datetime.combine(day, time(), UTC)
    instants = {
        instant
        for start in times.starts
        for instant in zones.instants(midnight + start, times.zone)[: None if times.each_hour else 1]
    }
    return _runs([instant - base for instant in sorted(instants)], times.length)


def _runs(
    starts: Iterable[timedelta], length: timedelta
) -> tuple[tuple[timedelta, ...], tuple[timedelta, ...]]:
    """Where openings of one length begin and end, with those that overlap or touch as one."""
    begins: list[timedelta] = []
    ends: list[timedelta] = []
    for start in starts:
        if ends and start <= ends[-1]:
            ends[-1] = start + length
        else:
            begins.append(start)
            ends.append(start + length)
    return tuple(begins), tuple(ends)


# ---- the days that a cron expression names -------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Days:
    """The days that the last three fields of a cron expression name, as croniter reads them.

    `weekdays` count from Sunday, 0. `nearest` are days of the month of which the nearest working day is meant
    (`15W`), `nth` a weekday's place in its month (`5#2`, and `L5`, the last one, as 0). Where both the day of
    the month and the weekday are given, a day counts that is either.
    """

    months: frozenset[int]
    dates: frozenset[int]
    last_date: bool
    nearest: tuple[int, ...]
    weekdays: frozenset[int]
    nth: tuple[tuple[int, int], ...]
    by: str

    @classmethod
    def compile(cls, expression: str) -> _Days:
        fields: Any = croniter(expression)
        _, _, dates, months, weekdays = fields.expanded
        nearest = tuple(sorted(fields.nearest_weekday))
        nth = tuple(
            (weekday, 0 if place == "l" else place)
            for weekday, places in fields.nth_weekday_of_month.items()
            for place in places
        )
        both = "*" not in dates and "*" not in weekdays
        return cls(
            months=frozenset(_numbers(months, range(1, 13))),
            dates=frozenset(_numbers(dates, range(1, 32))),
            last_date="l" in dates,
            nearest=nearest,
            weekdays=frozenset(_numbers(weekdays, range(7))),
            nth=nth,
            by=_rule(bool(nearest), bool(nth)) if both else "both",
        )

    def onward_from(self, first: date) -> Iterator[date]:
        days = _days_of(self, first.year, first.month)
        yield from days[bisect_left(days, first) :]
        for year in range(first.year, min(first.year + _LONGEST_WAIT_FOR_A_DAY, MAXYEAR - 1)):
            for month in range(first.month + 1 if year == first.year else 1, 13):
                yield from _days_of(self, year, month)

    def back_from(self, last: date) -> Iterator[date]:
        days = _days_of(self, last.year, last.month)
        yield from reversed(days[: bisect_right(days, last)])
        for year in range(last.year, 1, -1):
            for month in range(last.month - 1 if year == last.year else 12, 0, -1):
                yield from reversed(_days_of(self, year, month))

    def by_date(self, year: int, month: int) -> set[int]:
        length = monthrange(year, month)[1]
        if self.nearest:
            return {_working_day_near(date(year, month, min(day, length)), length) for day in self.nearest}
        named = {day for day in self.dates if day <= length}
        return named | {length} if self.last_date else named

    def by_weekday(self, year: int, month: int) -> set[int]:
        first, length = monthrange(year, month)
        if not self.nth:
            return {day for day in range(1, length + 1) if (first + day) % 7 in self.weekdays}
        same = {
            weekday: [day for day in range(1, length + 1) if (first + day) % 7 == weekday]
            for weekday, _ in self.nth
        }
        return {same[weekday][place - 1] for weekday, place in self.nth if place <= len(same[weekday])}


@lru_cache(maxsize=16384)
def _days_of(days: _Days, year: int, month: int) -> tuple[date, ...]:
    if month not in days.months:
        return ()
    dates, weekdays = days.by_date(year, month), days.by_weekday(year, month)
    match days.by:
        case "either":
            named = dates | weekdays
        case "date":
            named = dates
        case "weekday":
            named = weekdays
        case _:
            named = dates & weekdays
    return tuple(date(year, month, day) for day in sorted(named))


@lru_cache(maxsize=1024)
def _days_named(fields: str) -> _Days:
    """One value for all windows on the same days, so that they are worked out once."""
    return _Days.compile(f"0 0 {fields}")


def _rule(nearest: bool, nth: bool) -> str:
    """How croniter puts a day of the month and a weekday together: `15W` or `5#2` counts alone."""
    if nearest and nth:
        return "both"
    return "date" if nearest else "weekday" if nth else "either"


def _working_day_near(day: date, length: int) -> int:
    """The working day next to `day` in its month, which has `length` days."""
    if day.isoweekday() == 6:
        return day.day - 1 if day.day > 1 else 3
    if day.isoweekday() == 7:
        return day.day + 1 if day.day < length else day.day - 2
    return day.day


def _numbers(field: Sequence[Any], everything: range) -> list[int]:
    return list(everything) if "*" in field else sorted(it for it in field if isinstance(it, int))


# ---- spans ---------------------------------------------------------------------------------------------


def _union(windows: Sequence[_Window], after: datetime) -> Iterator[_Span]:
    """When any of these is open, from what is open at `after` on."""
    known = max((window.times.closes for window in windows), default=after)
    in_sight = _later(min(max(known, after), _later(after, LONGEST)), IN_SIGHT)
    return _joined(merge(*(window.spans(after) for window in windows)), in_sight)


def _joined(runs: Iterable[_Span], in_sight: datetime) -> Iterator[_Span]:
    """`runs`, in the order of their begins, with those that overlap or touch as one.

    One that goes on and on beyond `in_sight`, or IN_SIGHT after its begin, goes on for good.
    """
    ahead = iter(runs)
    now = next(ahead, None)
    if now is None:
        return
    opens, closes = now
    for begins, ends in ahead:
        if closes == FOR_GOOD:
            break
        if begins > closes:
            yield opens, closes
            opens, closes = begins, ends
        elif begins > max(in_sight, _later(opens, IN_SIGHT)):
            yield opens, FOR_GOOD
            return
        else:
            closes = max(closes, ends)
    yield opens, closes


def _without(spans: Iterable[_Span], holes: Iterator[_Span]) -> Iterator[_Span]:
    """What `holes` leave of `spans`; both in order, and neither touching another of its own."""
    hole = next(holes, None)
    for opens, closes in spans:
        begins = opens
        while hole is not None and hole[0] < closes:
            if begins < hole[0]:
                yield begins, hole[0]
            begins = max(begins, hole[1])
            if begins >= closes:
                break
            hole = next(holes, None)
        if begins < closes:
            yield begins, closes


def _utc(at: datetime) -> datetime:
    if at.utcoffset() is None:
        raise ValueError(f"a time without its zone: {at.isoformat()}")
    return at.astimezone(UTC)


def _later(at: datetime, span: timedelta) -> datetime:
    return at + span if at < FOR_GOOD - span else FOR_GOOD


def _earlier(at: datetime, span: timedelta) -> datetime:
    return at - span if at > SINCE_EVER + span else SINCE_EVER
