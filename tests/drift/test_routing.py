"""Who is told of what, in which thread, and not before when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from driftwatch.config.notify import NotifySettings
from driftwatch.drift.routing import Outlet, Routing
from driftwatch.model import (
    Announcement,
    AttributeChange,
    Cause,
    Finding,
    FindingKind,
    Severity,
    TransitionKind,
    Trigger,
    Verdict,
)

STACK = "platform/envs/prod/shop"
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
"""A Wednesday."""

SLACK, NETWORK, HOOK = "slack", "slack:#network", "webhook:incidents"
MAIL, ISSUES, PAGER = "email:ops", "github:tracker", "apprise:pager"
CONFIGURED = (SLACK, HOOK, MAIL, ISSUES, PAGER)

DETECTOR = [kind for kind in TransitionKind if kind.is_of_detector]
DRIFT = [TransitionKind.DRIFT_FOUND, TransitionKind.DRIFT_CHANGED, TransitionKind.REMINDER]


def routing(*routes: dict[str, Any]) -> Routing:
    """Routes from the words of a configuration that has every sort of channel."""
    settings = {
        "slack": {"token": "xoxb-canary", "channel": "#drift"},
        "webhooks": [{"name": "incidents", "url": "https://hooks.example.com/in", "secret": "canary"}],
        "email": [
            {"name": "ops", "host": "mail.example.com", "from": "d@example.com", "to": ["ops@example.com"]}
        ],
        "github": [{"name": "tracker", "repository": "acme/tracker", "token": "canary"}],
        "apprise": [{"name": "pager", "url": "canary"}],
        "routes": list(routes),
    }
    return Routing.compile(NotifySettings.model_validate(settings))


def to(*channels: str, **more: Any) -> dict[str, Any]:
    """A route."""
    return {"channels": list(channels), **more}


def finding(
    severity: Severity = Severity.MEDIUM,
    *causes: Cause,
    also: Cause | None = None,
) -> Finding:
    first = causes[0] if causes else Cause.OUT_OF_BAND
    attribute = AttributeChange(
        path="/a", before=1, actual=2, after=3, sensitive=False, cause=first, also=also
    )
    return Finding(
        address="aws_instance.it",
        type="aws_instance",
        kind=FindingKind.MODIFIED,
        action="update",
        causes=causes or (Cause.OUT_OF_BAND,),
        severity=severity,
        fingerprint="f",
        counted=True,
        attributes=(attribute,),
    )


def said(
    *findings: Finding,
    kind: TransitionKind = TransitionKind.DRIFT_FOUND,
    at: datetime = NOON,
    stack: str = STACK,
    **more: Any,
) -> Announcement:
    return Announcement(
        kind=kind,
        stack=stack,
        verdict=Verdict.DRIFTED,
        commit=None,
        trigger=Trigger.SCHEDULE,
        at=at,
        findings=findings,
        total=len(findings),
        **more,
    )


FOUND = said(finding())
RESOLVED = said(kind=TransitionKind.RESOLVED)


def names(outlets: tuple[Outlet, ...]) -> list[str]:
    return [outlet.channel for outlet in outlets]


def told_by(*routes: dict[str, Any], of: Announcement = FOUND, told: tuple[str, ...] = ()) -> list[str]:
    """The channels that are told under these routes."""
    return names(routing(*routes).outlets(of, CONFIGURED, told))


def when(route: dict[str, Any], announcement: Announcement) -> str:
    """When Slack is told under one route, in UTC."""
    (outlet,) = routing({**to(SLACK), **route}).outlets(announcement, CONFIGURED, ())
    return f"{outlet.not_before:%a %m-%d %H:%M}"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# ---- Who -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in TransitionKind if kind is not TransitionKind.HANDLED])
@pytest.mark.parametrize("told", [(), (SLACK,)])
def test_without_routes_every_channel_is_told_of_everything_at_once(
    kind: TransitionKind, told: tuple[str, ...]
) -> None:
    """Also of an end of which it did not hear the beginning: as ever."""
    outlets = Routing.everything().outlets(said(kind=kind), CONFIGURED, told)

    assert names(outlets) == list(CONFIGURED)
    assert {outlet.not_before for outlet in outlets} == {NOON}
    assert {outlet.channel: outlet.thread for outlet in outlets} == {
        **dict.fromkeys(CONFIGURED),
        HOOK: f"stack:{STACK}",
    }


def test_no_routes_in_the_settings_are_no_routes() -> None:
    assert routing() == Routing.everything()


def test_without_channels_nobody_is_told() -> None:
    assert Routing.everything().outlets(FOUND, (), ()) == ()


@pytest.mark.parametrize(
    ("stacks", "fits"),
    [
        (["*"], True),
        ([STACK], True),
        (["platform/*"], True),
        (["*/prod/*"], True),
        (["platform/envs/prod/sho?"], True),
        (["other/*", "platform/*"], True),
        (["platform/envs/prod"], False),
        (["PLATFORM/*"], False),
        (["*@*"], False),
    ],
)
def test_a_route_names_stacks_by_globs_over_the_whole_id(stacks: list[str], fits: bool) -> None:
    """As everywhere: `*` takes slashes, too, and case counts."""
    assert told_by(to(SLACK, stacks=stacks), to(MAIL)) == ([SLACK, MAIL] if fits else [MAIL])


def test_an_id_with_brackets_is_itself() -> None:
    odd = "platform/envs/[old]"

    assert told_by(to(SLACK, stacks=[odd]), to(MAIL), of=said(finding(), stack=odd)) == [SLACK, MAIL]


@pytest.mark.parametrize(
    ("labels", "fits"),
    [
        ({}, True),
        ({"tier": "prod"}, True),
        ({"tier": "prod", "team": "shop"}, True),
        ({"tier": "prod", "team": "search"}, False),
        ({"region": "eu"}, False),
    ],
)
def test_a_route_wants_all_its_labels(labels: dict[str, str], fits: bool) -> None:
    of = said(finding(), labels={"tier": "prod", "team": "shop"})

    assert told_by(to(SLACK, labels=labels), to(MAIL), of=of) == ([SLACK, MAIL] if fits else [MAIL])


@pytest.mark.parametrize(
    ("owners", "fits"),
    [([], True), (["@shop"], True), (["@search", "@shop"], True), (["@search"], False), (["@sho"], False)],
)
def test_a_route_wants_one_of_its_owners(owners: list[str], fits: bool) -> None:
    of = said(finding(), owners=("@platform", "@shop"))

    assert told_by(to(SLACK, owners=owners), to(MAIL), of=of) == ([SLACK, MAIL] if fits else [MAIL])


@pytest.mark.parametrize("kind", DRIFT)
@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("least", Severity)
def test_a_route_takes_drift_from_its_severity_on(
    kind: TransitionKind, severity: Severity, least: Severity
) -> None:
    of = said(finding(severity), finding(Severity.INFO), kind=kind)

    assert (SLACK in told_by(to(SLACK, severity=least), to(MAIL), of=of)) == (severity.rank >= least.rank)


@pytest.mark.parametrize("kind", DETECTOR)
@pytest.mark.parametrize("findings", [(), (finding(Severity.LOW),)])
def test_severity_and_causes_do_not_ask_about_the_detector(
    kind: TransitionKind, findings: tuple[Finding, ...]
) -> None:
    """A team that only hears of critical changes must know when nobody looks for them any more."""
    strict = to(SLACK, severity="critical", causes=["state_edit"])

    assert told_by(strict, to(MAIL, stacks=["other/*"]), of=said(*findings, kind=kind)) == [SLACK]


@pytest.mark.parametrize(
    ("found", "fits"),
    [
        (finding(Severity.HIGH, Cause.UNAPPLIED_COMMIT), True),
        (finding(Severity.HIGH, Cause.OUT_OF_BAND, Cause.UNAPPLIED_COMMIT), True),
        (finding(Severity.HIGH, Cause.OUT_OF_BAND, also=Cause.UNAPPLIED_COMMIT), True),
        (finding(Severity.HIGH, Cause.OUT_OF_BAND), False),
        (finding(Severity.HIGH, Cause.UNDETERMINED, also=Cause.OUT_OF_BAND), False),
    ],
)
def test_a_route_takes_drift_with_one_of_its_causes(found: Finding, fits: bool) -> None:
    """The second cause at an attribute is a cause."""
    routes = to(SLACK, causes=["unapplied_commit", "provider_upgrade"]), to(MAIL)

    assert told_by(*routes, of=said(found)) == ([SLACK, MAIL] if fits else [MAIL])


def test_severity_and_cause_are_asked_of_the_same_finding() -> None:
    by_hand = finding(Severity.CRITICAL, Cause.OUT_OF_BAND)
    by_commit = finding(Severity.LOW, Cause.UNAPPLIED_COMMIT)
    routes = to(SLACK, severity="high", causes=["unapplied_commit"]), to(MAIL)

    assert told_by(*routes, of=said(by_hand, by_commit)) == [MAIL]
    assert told_by(*routes, of=said(finding(Severity.HIGH, Cause.UNAPPLIED_COMMIT))) == [SLACK, MAIL]


def test_all_routes_that_fit_add_their_channels_in_the_order_of_the_configured() -> None:
    assert told_by(to(NETWORK, MAIL), to(MAIL, SLACK), to(ISSUES, stacks=["other/*"])) == [
        SLACK,
        MAIL,
        NETWORK,
    ]


@pytest.mark.parametrize("kind", [*DRIFT, *DETECTOR])
def test_where_no_route_fits_every_configured_channel_is_told_at_once(kind: TransitionKind) -> None:
    """Even one that a route would let wait; a channel that only a route names is not one of them."""
    night = to(SLACK, NETWORK, stacks=["other/*"], quiet_hours={"from": "00:00", "to": "00:00"})
    outlets = routing(night).outlets(said(finding(), kind=kind), (*CONFIGURED, NETWORK), ())

    assert names(outlets) == list(CONFIGURED)
    assert {outlet.not_before for outlet in outlets} == {NOON}


def test_what_is_too_mild_for_every_route_is_told_at_once_whatever_they_would_wait_for() -> None:
    night = to(SLACK, severity="high", digest={"at": "09:00"})
    outlets = routing(night).outlets(said(finding(Severity.LOW)), CONFIGURED, ())

    assert names(outlets) == list(CONFIGURED)
    assert {outlet.not_before for outlet in outlets} == {NOON}
    assert outlets[0].thread is None


def test_a_route_without_channels_tells_nobody_on_purpose() -> None:
    assert told_by(to(stacks=["*/prod/*"])) == []
    assert told_by(to(stacks=["*/test/*"])) == list(CONFIGURED)


def test_a_route_without_channels_takes_nothing_from_the_others() -> None:
    assert told_by(to(), to(MAIL)) == [MAIL]


def test_the_channels_that_only_routes_name_are_known() -> None:
    """Each once, in the order of the routes: somebody has to make them."""
    routes = routing(to(NETWORK, SLACK, HOOK), to("slack:#deploys", NETWORK), to())

    assert routes.channels == (NETWORK, "slack:#deploys")
    assert Routing.everything().channels == ()


def test_a_channel_that_is_given_twice_is_told_once() -> None:
    outlets = routing(to(SLACK, NETWORK)).outlets(FOUND, (*CONFIGURED, NETWORK, SLACK), (SLACK,))

    assert names(outlets) == [SLACK, NETWORK]


# ---- Who was told before -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*DRIFT, TransitionKind.RESOLVED])
def test_whoever_was_told_of_the_beginning_is_told_of_the_rest(kind: TransitionKind) -> None:
    """It was critical then, and the route is for critical things only: still they have to hear the end."""
    routes = to(SLACK, severity="critical"), to(MAIL, stacks=["other/*"])
    findings = () if kind is TransitionKind.RESOLVED else (finding(Severity.LOW),)

    assert told_by(*routes, of=said(*findings, kind=kind), told=(SLACK,)) == [SLACK]


def test_who_was_told_before_does_not_keep_a_new_one_from_being_told() -> None:
    """What has become worse concerns more people."""
    routes = to(SLACK), to(MAIL, severity="high")
    worse = said(finding(Severity.HIGH), kind=TransitionKind.DRIFT_CHANGED)

    assert told_by(*routes, of=worse, told=(SLACK,)) == [SLACK, MAIL]


def test_an_end_is_for_those_who_heard_the_beginning() -> None:
    """A route that asks for nothing was added in between: to its people nothing was open."""
    assert told_by(to(SLACK), to(MAIL), of=RESOLVED, told=(MAIL,)) == [MAIL]


@pytest.mark.parametrize(
    ("routes", "channels"),
    [
        ((to(SLACK), to(MAIL, severity="high")), [SLACK]),
        ((to(MAIL, causes=["out_of_band"]),), list(CONFIGURED)),
        ((to(severity="high"),), []),
        ((to(causes=["out_of_band"]), to(MAIL, severity="high")), []),
        ((to(stacks=["other/*"]),), list(CONFIGURED)),
    ],
    ids=["asks for nothing", "asks", "was silent", "was silent for a cause", "is about others"],
)
def test_an_end_of_which_nobody_heard_the_beginning(
    routes: tuple[dict[str, Any], ...], channels: list[str]
) -> None:
    """It may have been silence on purpose, which lasts; else nothing is lost."""
    assert told_by(*routes, of=RESOLVED) == channels


def test_who_was_told_and_is_no_longer_configured_cannot_be_told() -> None:
    assert told_by(to(SLACK), told=("slack:#gone", "email:gone")) == [SLACK]
    assert told_by(to(SLACK, severity="high"), told=("slack:#gone",)) == list(CONFIGURED)


@pytest.mark.parametrize("kind", [*DRIFT, TransitionKind.RESOLVED, *DETECTOR])
def test_who_was_told_is_told_where_no_route_is_about_the_stack_any_more(kind: TransitionKind) -> None:
    """Also a channel that only a route names; and nobody else, as somebody is told."""
    assert told_by(to(NETWORK, stacks=["other/*"]), of=said(kind=kind), told=(NETWORK,)) == [NETWORK]


def test_the_rest_is_told_with_the_timing_of_the_first_route_about_the_stack() -> None:
    """Whatever that route asks of findings, as an end has none."""
    routes = routing(
        to(SLACK, stacks=["other/*"]),
        to(SLACK, severity="high", digest={"at": "09:00"}),
        to(SLACK),
    )
    (outlet,) = routes.outlets(RESOLVED, CONFIGURED, (SLACK,))

    assert outlet == Outlet(
        channel=SLACK, thread="digest:1:2026-11-26T09:00:00+00:00", not_before=at("2026-11-26 09:00")
    )


def test_the_rest_is_told_with_the_timing_of_a_route_that_fits_where_one_does() -> None:
    routes = routing(to(SLACK, severity="high", digest={"at": "09:00"}), to(SLACK))
    (outlet,) = routes.outlets(FOUND, CONFIGURED, (SLACK,))

    assert outlet == Outlet(channel=SLACK, thread=None, not_before=NOON)


def test_the_rest_is_told_at_once_where_no_route_is_about_the_stack_any_more() -> None:
    routes = routing(to(SLACK, stacks=["other/*"], digest={"at": "09:00"}))

    assert routes.outlets(RESOLVED, CONFIGURED, (SLACK,)) == (
        Outlet(channel=SLACK, thread=None, not_before=NOON),
    )


# ---- What a person did ---------------------------------------------------------------------------------

HANDLED = said(finding(Severity.CRITICAL), kind=TransitionKind.HANDLED)


@pytest.mark.parametrize("routes", [(), (to(*CONFIGURED),), (to(SLACK, severity="critical"),), (to(),)])
def test_what_a_person_did_is_told_to_those_who_know_of_it(routes: tuple[dict[str, Any], ...]) -> None:
    assert told_by(*routes, of=HANDLED, told=(SLACK, ISSUES, HOOK)) == [SLACK, HOOK, ISSUES]
    assert told_by(*routes, of=HANDLED) == []


def test_nobody_gets_a_mail_for_each_press() -> None:
    assert told_by(of=HANDLED, told=CONFIGURED) == [SLACK, HOOK, ISSUES]
    assert told_by(to(*CONFIGURED), of=HANDLED, told=(MAIL, PAGER)) == []


def test_what_a_person_did_waits_like_the_rest() -> None:
    calm = said(finding(), kind=TransitionKind.HANDLED)
    (outlet,) = routing(to(SLACK, digest={"at": "09:00"})).outlets(calm, CONFIGURED, (SLACK,))

    assert outlet.not_before == at("2026-11-26 09:00")


# ---- Webhooks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "timing",
    [{}, {"digest": {"at": "09:00"}}, {"quiet_hours": {"from": "00:00", "to": "00:00", "unless": None}}],
)
@pytest.mark.parametrize("kind", TransitionKind)
def test_a_webhook_is_told_at_once_and_by_stack(timing: dict[str, Any], kind: TransitionKind) -> None:
    """Programs are not woken, and read no digest."""
    routes = routing(to(HOOK, **timing))

    assert routes.outlets(said(finding(), kind=kind), CONFIGURED, (HOOK,)) == (
        Outlet(channel=HOOK, thread=f"stack:{STACK}", not_before=NOON),
    )


# ---- Quiet hours ---------------------------------------------------------------------------------------


def quiet(begin: str, end: str, **more: Any) -> dict[str, Any]:
    return {"quiet_hours": {"from": begin, "to": end, **more}}


@pytest.mark.parametrize(
    ("moment", "told"),
    [
        ("2026-11-25 21:59", "Wed 11-25 21:59"),
        ("2026-11-25 22:00", "Thu 11-26 07:00"),
        ("2026-11-25 23:30", "Thu 11-26 07:00"),
        ("2026-11-26 00:00", "Thu 11-26 07:00"),
        ("2026-11-26 06:59", "Thu 11-26 07:00"),
        ("2026-11-26 07:00", "Thu 11-26 07:00"),
    ],
)
def test_quiet_hours_hold_from_their_begin_to_just_before_their_end(moment: str, told: str) -> None:
    assert when(quiet("22:00", "07:00"), said(finding(), at=at(moment))) == told


def test_what_waits_for_the_end_of_quiet_hours_stays_in_its_own_thread() -> None:
    night = to(SLACK, **quiet("22:00", "07:00"))
    (outlet,) = routing(night).outlets(said(finding(), at=at("2026-11-25 23:30")), CONFIGURED, ())

    assert outlet == Outlet(channel=SLACK, thread=None, not_before=at("2026-11-26 07:00"))


@pytest.mark.parametrize(
    ("moment", "told"),
    [
        ("2026-11-27 23:00", "Sat 11-28 07:00"),
        ("2026-11-28 06:00", "Sat 11-28 07:00"),
        ("2026-11-28 23:00", "Sat 11-28 23:00"),
        ("2026-11-29 06:00", "Sun 11-29 06:00"),
    ],
)
def test_the_days_of_quiet_hours_are_those_on_which_they_begin(moment: str, told: str) -> None:
    """The night from Friday to Saturday belongs to Friday."""
    weekdays = quiet("22:00", "07:00", days=["mon", "tue", "wed", "thu", "fri"])

    assert when(weekdays, said(finding(), at=at(moment))) == told


def test_quiet_hours_within_a_day() -> None:
    assert when(quiet("12:00", "13:00"), FOUND) == "Wed 11-25 13:00"
    assert when(quiet("11:00", "12:00"), FOUND) == "Wed 11-25 12:00"


def test_quiet_hours_that_begin_when_they_end_are_a_whole_day() -> None:
    weekend = quiet("08:00", "08:00", days=["wed"])

    assert when(weekend, FOUND) == "Thu 11-26 08:00"
    assert when(weekend, said(finding(), at=at("2026-11-25 07:59"))) == "Wed 11-25 07:59"
    assert when(weekend, said(finding(), at=at("2026-11-26 07:59"))) == "Thu 11-26 08:00"


def test_quiet_hours_that_follow_each_other_are_one() -> None:
    weekend = quiet("00:00", "00:00", days=["sat", "sun"])

    assert when(weekend, said(finding(), at=at("2026-11-28 09:00"))) == "Mon 11-30 00:00"


def test_nothing_waits_for_ever() -> None:
    """A week that is quiet throughout lets go a week later, at the next end."""
    always = quiet("22:00", "22:00", unless=None)

    assert when(always, FOUND) == "Wed 12-02 22:00"
    assert when(always, said(finding(), at=at("2026-11-25 22:00"))) == "Wed 12-02 22:00"


@pytest.mark.parametrize(
    ("moment", "told"),
    [
        ("2026-03-28 21:30", "Sun 03-29 05:00"),
        ("2026-03-27 21:30", "Sat 03-28 06:00"),
        ("2026-10-24 20:30", "Sun 10-25 06:00"),
        ("2026-03-28 20:30", "Sat 03-28 20:30"),
    ],
)
def test_quiet_hours_are_those_of_the_local_clock(moment: str, told: str) -> None:
    """In Paris, from 22:00 to 07:00, over both changes of clocks of 2026."""
    route = quiet("22:00", "07:00", timezone="Europe/Paris")

    assert when(route, said(finding(), at=at(moment))) == told


@pytest.mark.parametrize(
    ("zone", "hours", "moment", "told"),
    [
        # 02:30 does not come: it is 03:00 then, at 01:00 UTC.
        ("Europe/Paris", ("22:00", "02:30"), "2026-03-29 00:30", "Sun 03-29 01:00"),
        ("Europe/Paris", ("02:30", "04:00"), "2026-03-29 00:59", "Sun 03-29 00:59"),
        ("Europe/Paris", ("02:30", "04:00"), "2026-03-29 01:00", "Sun 03-29 02:00"),
        # Neither 02:10 nor 02:50 comes: no quiet hours that day.
        ("Europe/Paris", ("02:10", "02:50"), "2026-03-29 01:00", "Sun 03-29 01:00"),
        # 02:30 comes twice, at 00:30 and at 01:30 UTC: the first counts.
        ("Europe/Paris", ("22:00", "02:30"), "2026-10-25 00:29", "Sun 10-25 00:30"),
        ("Europe/Paris", ("22:00", "02:30"), "2026-10-25 01:10", "Sun 10-25 01:10"),
        ("Europe/Paris", ("02:30", "04:00"), "2026-10-25 00:30", "Sun 10-25 03:00"),
        ("Europe/Paris", ("02:30", "04:00"), "2026-10-25 01:10", "Sun 10-25 03:00"),
        # The clock goes on by half an hour only: 02:00 is 02:30, at 15:30 UTC.
        ("Australia/Lord_Howe", ("22:00", "02:15"), "2026-10-03 15:00", "Sat 10-03 15:30"),
        # Midnight does not come: it is 01:00 then, at 03:00 UTC.
        ("America/Sao_Paulo", ("20:00", "00:00"), "2018-11-04 02:30", "Sun 11-04 03:00"),
        ("America/Sao_Paulo", ("00:00", "06:00"), "2018-11-04 02:59", "Sun 11-04 02:59"),
        ("America/Sao_Paulo", ("00:00", "06:00"), "2018-11-04 03:00", "Sun 11-04 08:00"),
        # The clock is put back over midnight at 00:01: 00:00 on Sunday begins before Saturday's last hour
        # comes a second time.
        ("America/St_Johns", ("00:00", "06:00"), "2006-10-29 02:45", "Sun 10-29 09:30"),
        # The whole of Friday, 30 December, does not come: Thursday's night goes on as that of Friday, until
        # 07:00 on Saturday.
        ("Pacific/Apia", ("22:00", "07:00"), "2011-12-30 09:00", "Fri 12-30 17:00"),
        ("Pacific/Apia", ("22:00", "23:00"), "2011-12-30 09:30", "Fri 12-30 09:30"),
    ],
)
def test_a_local_time_that_does_not_come_or_comes_twice(
    zone: str, hours: tuple[str, str], moment: str, told: str
) -> None:
    """The first instant at which the clock shows it or, where it skips it, is past it."""
    assert when(quiet(*hours, timezone=zone), said(finding(), at=at(moment))) == told


@pytest.mark.parametrize(
    ("moment", "told"),
    [("2026-11-26T01:00:00+03:00", "2026-11-26 07:00"), ("2026-11-26T12:00:00+03:00", "2026-11-26 09:00")],
)
def test_the_time_of_an_announcement_may_be_of_any_zone(moment: str, told: str) -> None:
    east = said(finding(), at=datetime.fromisoformat(moment))
    (outlet,) = routing(to(SLACK, **quiet("22:00", "07:00"))).outlets(east, CONFIGURED, ())
    everybody = Routing.everything().outlets(east, CONFIGURED, ())

    assert outlet.not_before == at(told)
    assert {one.not_before.tzinfo for one in (outlet, *everybody)} == {UTC}


# ---- Digests -------------------------------------------------------------------------------------------


def digest(clock: str, **more: Any) -> dict[str, Any]:
    return {"digest": {"at": clock, **more}}


@pytest.mark.parametrize(
    ("moment", "told"),
    [
        ("2026-11-25 08:59", "Wed 11-25 09:00"),
        ("2026-11-25 09:00", "Thu 11-26 09:00"),
        ("2026-11-25 12:00", "Thu 11-26 09:00"),
        ("2026-11-27 12:00", "Mon 11-30 09:00"),
        ("2026-11-29 23:59", "Mon 11-30 09:00"),
    ],
)
def test_a_digest_comes_at_the_next_slot_after(moment: str, told: str) -> None:
    working_days = digest("09:00", days=["mon", "tue", "wed", "thu", "fri"])

    assert when(working_days, said(finding(), at=at(moment))) == told


def test_a_digest_of_one_day_comes_a_week_later() -> None:
    assert when(digest("12:00", days=["wed"]), FOUND) == "Wed 12-02 12:00"


@pytest.mark.parametrize(
    ("zone", "clock", "moment", "told"),
    [
        ("Europe/Paris", "09:00", "2026-03-28 12:00", "Sun 03-29 07:00"),
        ("Europe/Paris", "09:00", "2026-10-24 12:00", "Sun 10-25 08:00"),
        ("Europe/Paris", "02:30", "2026-03-29 00:30", "Sun 03-29 01:00"),
        ("Europe/Paris", "02:30", "2026-03-29 01:00", "Mon 03-30 00:30"),
        ("Europe/Paris", "02:30", "2026-10-25 00:29", "Sun 10-25 00:30"),
        ("Europe/Paris", "02:30", "2026-10-25 00:30", "Mon 10-26 01:30"),
        ("America/Sao_Paulo", "00:00", "2018-11-03 12:00", "Sun 11-04 03:00"),
        ("Pacific/Apia", "09:00", "2011-12-30 01:00", "Fri 12-30 10:00"),
    ],
)
def test_a_digest_comes_at_local_time(zone: str, clock: str, moment: str, told: str) -> None:
    """Once a day, whatever the clock does: also where that time comes twice, or does not come."""
    assert when(digest(clock, timezone=zone), said(finding(), at=at(moment))) == told


def test_what_comes_for_one_digest_is_one_thread() -> None:
    """Of any stacks, and whatever is told, also of the detector and of ends."""
    routes = routing(to(), to(SLACK, MAIL, **digest("09:00", timezone="Europe/Paris")))
    many = [
        FOUND,
        said(finding(Severity.HIGH), stack="platform/other", at=NOON + timedelta(hours=9)),
        said(kind=TransitionKind.CHECK_FAILING),
    ]

    outlets = [outlet for one in many for outlet in routes.outlets(one, CONFIGURED, ())]

    assert names(tuple(outlets)) == [SLACK, MAIL] * 3
    assert {outlet.thread for outlet in outlets} == {"digest:1:2026-11-26T08:00:00+00:00"}
    assert {outlet.not_before for outlet in outlets} == {at("2026-11-26 08:00")}


# ---- What does not wait --------------------------------------------------------------------------------

WAITS = [quiet("00:00", "00:00", days=["wed"]), digest("00:00")]


def _unless(timing: dict[str, Any], unless: str | None) -> dict[str, Any]:
    ((name, words),) = timing.items()
    return {name: {**words, "unless": unless}}


@pytest.mark.parametrize("timing", WAITS)
@pytest.mark.parametrize("kind", DRIFT)
@pytest.mark.parametrize("worst", Severity)
@pytest.mark.parametrize("unless", [None, *Severity])
def test_what_is_severe_enough_does_not_wait(
    timing: dict[str, Any], kind: TransitionKind, worst: Severity, unless: Severity | None
) -> None:
    of = said(finding(worst), finding(Severity.INFO), kind=kind)
    (outlet,) = routing(to(SLACK, **_unless(timing, unless))).outlets(of, CONFIGURED, ())

    goes_at_once = unless is not None and worst.rank >= unless.rank
    assert outlet.not_before == (NOON if goes_at_once else at("2026-11-26 00:00"))
    assert (outlet.thread is None) == (goes_at_once or "digest" not in timing)


@pytest.mark.parametrize("timing", WAITS)
def test_only_critical_things_do_not_wait_unless_told_otherwise(timing: dict[str, Any]) -> None:
    assert when(timing, said(finding(Severity.HIGH))) == "Thu 11-26 00:00"
    assert when(timing, said(finding(Severity.CRITICAL))) == "Wed 11-25 12:00"


@pytest.mark.parametrize("timing", WAITS)
@pytest.mark.parametrize("kind", DETECTOR)
def test_the_detector_wakes_nobody(timing: dict[str, Any], kind: TransitionKind) -> None:
    """Even where critical things are open: that they are was told when they came."""
    of = said(finding(Severity.CRITICAL), kind=kind)

    assert when(_unless(timing, "info"), of) == "Thu 11-26 00:00"


@pytest.mark.parametrize("timing", WAITS)
def test_an_end_wakes_nobody(timing: dict[str, Any]) -> None:
    routes = routing(to(SLACK, **_unless(timing, "info")))
    (outlet,) = routes.outlets(RESOLVED, CONFIGURED, (SLACK,))

    assert outlet.not_before == at("2026-11-26 00:00")


def test_the_worst_of_a_stack_does_not_wait_though_the_route_is_there_for_another_of_its_findings() -> None:
    route = to(SLACK, causes=["unapplied_commit"], **digest("09:00"))
    of = said(finding(Severity.CRITICAL), finding(Severity.LOW, Cause.UNAPPLIED_COMMIT))

    assert routing(route).outlets(of, CONFIGURED, ()) == (
        Outlet(channel=SLACK, thread=None, not_before=NOON),
    )


# ---- Several routes to one channel ---------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("one", "other", "thread", "told"),
    [
        ({}, digest("13:00"), None, "2026-11-25 12:00"),
        ({}, quiet("11:00", "13:00"), None, "2026-11-25 12:00"),
        (quiet("11:00", "14:00"), quiet("11:00", "13:00"), None, "2026-11-25 13:00"),
        (quiet("11:00", "13:00"), digest("13:00"), None, "2026-11-25 13:00"),
        (quiet("11:00", "13:00"), digest("14:00"), None, "2026-11-25 13:00"),
        (quiet("11:00", "13:00"), digest("12:30"), "digest", "2026-11-25 12:30"),
        (digest("18:00"), digest("15:00"), "digest", "2026-11-25 15:00"),
    ],
)
def test_the_route_that_lets_it_go_first_wins(
    one: dict[str, Any], other: dict[str, Any], thread: str | None, told: str, turned: bool
) -> None:
    """At the same time the incident's own thread does, rather than a digest; never their order."""
    routes = [to(SLACK, **one), to(SLACK, **other)]
    (outlet,) = routing(*(reversed(routes) if turned else routes)).outlets(FOUND, CONFIGURED, ())

    assert outlet.not_before == at(told)
    assert (outlet.thread or "").partition(":")[0] == (thread or "")


def test_of_two_digests_at_the_same_time_the_first_takes_it() -> None:
    routes = routing(to(SLACK, **digest("15:00")), to(SLACK, **digest("15:00")))
    (outlet,) = routes.outlets(FOUND, CONFIGURED, ())

    assert outlet.thread == "digest:0:2026-11-25T15:00:00+00:00"


def test_a_route_that_does_not_fit_makes_nothing_sooner() -> None:
    routes = routing(to(SLACK, severity="high"), to(SLACK, **digest("15:00")))
    (outlet,) = routes.outlets(FOUND, CONFIGURED, ())

    assert outlet.not_before == at("2026-11-25 15:00")


def test_each_channel_has_its_own_timing() -> None:
    routes = routing(to(SLACK), to(MAIL, ISSUES, **digest("15:00")), to(ISSUES))
    outlets = routes.outlets(FOUND, CONFIGURED, ())

    assert {outlet.channel: outlet.not_before for outlet in outlets} == {
        SLACK: NOON,
        MAIL: at("2026-11-25 15:00"),
        ISSUES: NOON,
    }
