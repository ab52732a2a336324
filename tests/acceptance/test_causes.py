"""What happened to a stack, and which causes driftwatch must name for it: real terraform, one row each.

The stack of `causes_estate` is applied once; a row does something to it, and the check that follows is read
against the check before. All that is told beside the baseline's own noise has to be in the row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.drift import Digester, read_plan
from driftwatch.drift.explain import explain
from driftwatch.model import Cause, FindingKind, Inputs, Verdict
from driftwatch.sandbox.cloud import Cloud, Kind
from driftwatch.sandbox.mirror import cli_config
from tests.acceptance.aws.conftest import aws_endpoint, aws_mirror  # noqa: F401  (fixtures)
from tests.acceptance.causes_estate import (
    BY_HAND,
    LOGS,
    NEXT,
    ORDERS,
    SECRET,
    SECRET_BY_HAND,
    SECRET_IN_CODE,
    WEB,
    WWW,
    Estate,
    build,
)
from tests.drift import aws_scenario
from tests.drift.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from driftwatch.drift import Reading
    from driftwatch.model import Finding

HAND, COMMIT, UPGRADE, INPUT, STATE, NOISE, UNKNOWN = (
    Cause.OUT_OF_BAND,
    Cause.UNAPPLIED_COMMIT,
    Cause.PROVIDER_UPGRADE,
    Cause.INPUT_CHANGE,
    Cause.STATE_EDIT,
    Cause.NOISE,
    Cause.UNDETERMINED,
)
IN_SYNC, DRIFTED, PENDING, MIXED = Verdict.IN_SYNC, Verdict.DRIFTED, Verdict.PENDING, Verdict.MIXED
IT = ""
"""In the place of a path: the resource as a whole."""

LOGS_AT, TEAM_AT, WEB_AT = "sandbox_bucket.logs", "sandbox_bucket.team", "sandbox_firewall.web"
ORDERS_AT, DB_AT, WWW_AT = "sandbox_database.orders", "sandbox_dns_record.db", "sandbox_dns_record.www"


@dataclass(frozen=True, kw_only=True)
class Row:
    """`found` is all that is told, by address and path, two causes where both are at one attribute.

    `says` are parts of the sentences about the first address. `kinds` are those that are not `modified`.
    """

    happens: Callable[[Estate], object]
    verdict: Verdict
    found: Mapping[str, Mapping[str, Cause | tuple[Cause, Cause]]]
    says: tuple[str, ...] = ()
    kinds: Mapping[str, FindingKind] = field(default_factory=dict)
    slow: bool = False


def in_cloud(kind: Kind, key: str, **changes: Any) -> Callable[[Estate], object]:
    return lambda estate: estate.cloud.update(kind, key, changes)


def commit(*replacements: tuple[str, str], add: str = "") -> Callable[[Estate], object]:
    return lambda estate: estate.commit(*replacements, add=add)


def variables(**values: Any) -> Callable[[Estate], object]:
    return lambda estate: estate.variables.update(values)


def state(change: Callable[[dict[str, Any]], object]) -> Callable[[Estate], object]:
    return lambda estate: estate.edit_state(change)


def both(*happenings: Callable[[Estate], object]) -> Callable[[Estate], object]:
    return lambda estate: [happening(estate) for happening in happenings]


def upgrade(estate: Estate) -> None:
    estate.upgrade()


def publish(estate: Estate) -> None:
    estate.publish(subnet="subnet-9z8y", zone="zone-a")


def new_owner(estate: Estate) -> None:
    estate.cloud.update(Kind.BUCKET, BY_HAND, {"tags": {"owner": "new-team"}})


def delete_www(estate: Estate) -> None:
    estate.cloud.delete(Kind.DNS_RECORD, WWW)


def open_ssh(estate: Estate) -> None:
    known = estate.cloud.get(Kind.FIREWALL, WEB).attributes["ingress"]
    rule = {"port": 22, "protocol": "tcp", "cidrs": ["0.0.0.0/0"], "description": None}
    estate.cloud.update(Kind.FIREWALL, WEB, {"ingress": [*known, rule]})


def turn_rules(estate: Estate) -> None:
    known = estate.cloud.get(Kind.BUCKET, LOGS).attributes["lifecycle_rule"]
    estate.cloud.update(Kind.BUCKET, LOGS, {"lifecycle_rule": known[::-1]})


def shuffle_sets(estate: Estate) -> None:
    values = estate.cloud.get(Kind.DNS_RECORD, WWW).attributes["values"]
    (rule,) = estate.cloud.get(Kind.FIREWALL, WEB).attributes["ingress"]
    estate.cloud.update(Kind.DNS_RECORD, WWW, {"values": values[::-1]})
    estate.cloud.update(Kind.FIREWALL, WEB, {"ingress": [{**rule, "cidrs": rule["cidrs"][::-1]}]})


def applied_elsewhere(kind: Kind, key: str, address: str, **changes: Any) -> Callable[[Estate], object]:
    """Somebody applied other code from a machine of his own: cloud and state have it."""

    def happens(estate: Estate) -> None:
        estate.cloud.update(kind, key, changes)
        estate.edit_state(lambda known: known[address]["instances"][0]["attributes"].update(changes))

    return happens


def taint(known: dict[str, Any]) -> None:
    known[ORDERS_AT]["instances"][0]["status"] = "tainted"


def forget_www(known: dict[str, Any]) -> None:
    del known[WWW_AT]


def misremember(known: dict[str, Any]) -> None:
    known[WEB_AT]["instances"][0]["attributes"]["description"] = "edited"


def touch_orders(estate: Estate) -> None:
    estate.cloud.touch(Kind.DATABASE, ORDERS)


def recreate_orders(estate: Estate) -> None:
    """Under the same name it is another one: its endpoint has another number."""
    settable = ("name", "region", "engine", "version", "size", "password", "parameters", "tags")
    known = estate.cloud.get(Kind.DATABASE, ORDERS).attributes
    estate.cloud.delete(Kind.DATABASE, ORDERS)
    estate.cloud.create(Kind.DATABASE, {name: known[name] for name in settable})


NEW_RECORD = """
resource "sandbox_dns_record" "api" {
  zone   = "example.test"
  name   = "api"
  type   = "A"
  values = ["203.0.113.9"]
}
"""
NO_WWW = (
    'resource "sandbox_dns_record" "www" {\n  zone   = "example.test"\n  name   = "www"\n  type   = "A"\n'
    '  values = ["203.0.113.1", "203.0.113.2"]\n}\n'
)
TTL = ('["203.0.113.1", "203.0.113.2"]', '["203.0.113.1", "203.0.113.2"]\n  ttl    = 60')
HOT = ('"cold"', '"hot"')
NEXT_MAJOR = ('"15.4"', '"16.1"')
WWW_AWAY = (
    'resource "sandbox_dns_record" "www" {\n',
    'resource "sandbox_dns_record" "www" {\n  provider = sandbox.away\n',
)
CREATED, DELETED, DESTROYED, REPLACED, OUTPUT = (
    FindingKind.CREATED,
    FindingKind.DELETED,
    FindingKind.DESTROYED,
    FindingKind.REPLACED,
    FindingKind.OUTPUT,
)

ROWS: Mapping[str, Row] = {
    # Somebody changed the cloud by hand.
    "an attribute by hand": Row(
        happens=in_cloud(Kind.DNS_RECORD, WWW, ttl=5),
        verdict=DRIFTED,
        found={WWW_AT: {"/ttl": HAND}},
        says=(
            "Somebody changed /ttl outside of Terraform: the state remembered 300, the cloud has 5, ",
            "the cloud has 5, the code wants 300.",
        ),
    ),
    "deleted by hand": Row(
        happens=delete_www,
        verdict=DRIFTED,
        found={WWW_AT: {IT: HAND}},
        kinds={WWW_AT: DELETED},
        says=("Somebody deleted it outside of Terraform",),
    ),
    "a nested block by hand": Row(
        happens=open_ssh,
        verdict=DRIFTED,
        found={WEB_AT: {"/ingress": HAND}},
        says=("Somebody changed /ingress outside of Terraform", '"0.0.0.0/0"'),
    ),
    "a key of a map by hand": Row(
        happens=in_cloud(Kind.DATABASE, ORDERS, parameters={"max_connections": "100", "log": "9"}),
        verdict=DRIFTED,
        found={ORDERS_AT: {"/parameters/log": HAND, "/revision": NOISE}},
        says=('the state remembered nothing, the cloud has "9", the code wants nothing',),
        slow=True,
    ),
    "the order of a list by hand": Row(
        happens=turn_rules, verdict=DRIFTED, found={LOGS_AT: {"/lifecycle_rule": HAND}}, slow=True
    ),
    "a secret by hand": Row(
        happens=in_cloud(Kind.DATABASE, ORDERS, password=SECRET_BY_HAND),
        verdict=DRIFTED,
        found={ORDERS_AT: {"/password": HAND, "/revision": NOISE}},
        says=("Somebody changed /password outside of Terraform; its values are sensitive and not shown.",),
    ),
    "made again by hand, and others point to it": Row(
        happens=recreate_orders,
        verdict=DRIFTED,
        found={DB_AT: {"/values": HAND}, ORDERS_AT: {"/endpoint": NOISE}},
        says=("/values follows from something that was changed outside of Terraform",),
    ),
    # A commit waits.
    "a commit changes": Row(
        happens=commit(TTL),
        verdict=PENDING,
        found={WWW_AT: {"/ttl": COMMIT}},
        says=(
            "The code of commit",
            "is not applied yet: the code wants /ttl to be 60, and the cloud has 300",
        ),
    ),
    "a commit creates": Row(
        happens=commit(add=NEW_RECORD),
        verdict=PENDING,
        found={"sandbox_dns_record.api": {IT: COMMIT}},
        kinds={"sandbox_dns_record.api": CREATED},
        says=("the code wants it, and the cloud does not have it yet",),
    ),
    "a commit destroys": Row(
        happens=commit((NO_WWW, "")),
        verdict=PENDING,
        found={WWW_AT: {IT: COMMIT}},
        kinds={WWW_AT: DESTROYED},
        says=("the code no longer has it, and an apply would destroy it",),
        slow=True,
    ),
    "a commit replaces, and others point to it": Row(
        happens=commit(('"postgres"', '"mysql"')),
        verdict=PENDING,
        found={ORDERS_AT: {"/engine": COMMIT}, DB_AT: {"/values": COMMIT}},
        kinds={ORDERS_AT: REPLACED},
        says=("an apply would delete it and make another one",),
    ),
    "a commit changes the default of a variable": Row(
        happens=commit(('"platform"', '"payments"')),
        verdict=PENDING,
        found={TEAM_AT: {"/tags/team": COMMIT}, WEB_AT: {"/description": COMMIT}},
        slow=True,
    ),
    "a commit changes a secret": Row(
        happens=commit((f'"{SECRET}"', f'"{SECRET_IN_CODE}"')),
        verdict=PENDING,
        found={ORDERS_AT: {"/password": COMMIT}},
        says=("the code wants another value at /password, which is sensitive and not shown",),
        slow=True,
    ),
    "a commit changes an output": Row(
        happens=commit(("sandbox_bucket.loose.tags", "upper(sandbox_bucket.logs.name)")),
        verdict=PENDING,
        found={"output.owner": {IT: COMMIT}},
        kinds={"output.owner": OUTPUT},
        slow=True,
    ),
    # The provider.
    "another provider version": Row(
        happens=upgrade,
        verdict=PENDING,
        found={ORDERS_AT: {"/replicas": UPGRADE}},
        says=(
            f"The provider driftwatch/sandbox went from 1.0.0 to {NEXT}: it now plans /replicas to be 1, ",
            "it now plans /replicas to be 1, and the cloud has 0.",
        ),
    ),
    # Inputs.
    "another value of a variable": Row(
        happens=variables(size=50),
        verdict=PENDING,
        found={ORDERS_AT: {"/size": INPUT}},
        says=(
            "The variable size has changed since the stack was last in sync: the code wants /size to be 50",
        ),
    ),
    "another answer of a data source": Row(
        happens=new_owner,
        verdict=PENDING,
        found={LOGS_AT: {"/tags/owner": INPUT}},
        says=("The answer of data.sandbox_bucket.shared has changed",),
    ),
    "another output upstream": Row(
        happens=publish,
        verdict=PENDING,
        found={LOGS_AT: {"/tags/subnet": INPUT}},
        says=("The upstream output data.terraform_remote_state.network.outputs.subnet has changed",),
    ),
    # The state.
    "taken out of the state": Row(
        happens=state(forget_www),
        verdict=PENDING,
        found={WWW_AT: {IT: STATE}},
        kinds={WWW_AT: CREATED},
        says=("The state was written by something else than driftwatch", "(serial 10, now 11)"),
    ),
    "tainted in the state": Row(
        happens=state(taint),
        verdict=PENDING,
        found={ORDERS_AT: {IT: STATE}, DB_AT: {"/values": STATE}},
        kinds={ORDERS_AT: REPLACED},
        slow=True,
    ),
    "applied from somebody's own machine": Row(
        happens=applied_elsewhere(Kind.DNS_RECORD, WWW, WWW_AT, ttl=60),
        verdict=PENDING,
        found={WWW_AT: {"/ttl": STATE}},
    ),
    # Noise.
    "nothing": Row(happens=lambda _estate: None, verdict=IN_SYNC, found={}),
    "null against empty": Row(
        happens=commit(('  name        = "web"\n', '  name        = "web"\n  tags        = {}\n')),
        verdict=IN_SYNC,
        found={},
        slow=True,
    ),
    "the order of sets": Row(happens=shuffle_sets, verdict=IN_SYNC, found={}),
    "a revision that the cloud counts": Row(
        happens=touch_orders,
        verdict=IN_SYNC,
        found={ORDERS_AT: {"/revision": NOISE}},
        says=("Not counted: /revision", "an apply would change nothing there"),
    ),
    "what the code ignores, and an output that passes it on": Row(
        happens=in_cloud(Kind.BUCKET, "loose", tags={"by": "hand"}),
        verdict=IN_SYNC,
        found={"sandbox_bucket.loose": {"/tags/by": NOISE}, "output.owner": {"/by": NOISE}},
        kinds={"output.owner": OUTPUT},
        slow=True,
    ),
    "by hand what the commit says": Row(
        happens=both(in_cloud(Kind.DNS_RECORD, WWW, ttl=60), commit(TTL)),
        verdict=IN_SYNC,
        found={WWW_AT: {"/ttl": NOISE}},
    ),
    "gone from the cloud and from the code": Row(
        happens=both(delete_www, commit((NO_WWW, ""))),
        verdict=IN_SYNC,
        found={WWW_AT: {IT: NOISE}},
        kinds={WWW_AT: DELETED},
        slow=True,
    ),
    "remembered wrongly in an edited state": Row(
        happens=state(misremember), verdict=IN_SYNC, found={WEB_AT: {"/description": NOISE}}, slow=True
    ),
    # Pairs.
    "by hand and by a commit, at one resource": Row(
        happens=both(in_cloud(Kind.BUCKET, LOGS, versioning=True), commit(HOT)),
        verdict=MIXED,
        found={LOGS_AT: {"/versioning": HAND, "/tags/tier": COMMIT}},
        says=("Somebody changed /versioning", "is not applied yet: the code wants /tags/tier to be"),
    ),
    "by hand and by a commit, at one attribute": Row(
        happens=both(in_cloud(Kind.DNS_RECORD, WWW, ttl=5), commit(TTL)),
        verdict=MIXED,
        found={WWW_AT: {"/ttl": (HAND, COMMIT)}},
        says=(
            "the state remembered 300, the cloud has 5, the code wants 60",
            "is not applied yet: beside what was done by hand, the code wants something else at /ttl",
        ),
    ),
    "by hand and by a variable, at one attribute": Row(
        happens=both(in_cloud(Kind.DATABASE, ORDERS, size=30), variables(size=50)),
        verdict=MIXED,
        found={ORDERS_AT: {"/size": (HAND, INPUT), "/revision": NOISE}},
        slow=True,
    ),
    "by hand and by an upgrade": Row(
        happens=both(in_cloud(Kind.DATABASE, ORDERS, size=30), upgrade),
        verdict=MIXED,
        found={ORDERS_AT: {"/size": HAND, "/replicas": UPGRADE, "/revision": NOISE}},
    ),
    "by a commit and by an upgrade": Row(
        happens=both(commit(NEXT_MAJOR), upgrade),
        verdict=PENDING,
        found={ORDERS_AT: {"/version": COMMIT, "/replicas": UPGRADE}},
    ),
    "by a commit and by a data source, in one map": Row(
        happens=both(commit(HOT), new_owner),
        verdict=PENDING,
        found={LOGS_AT: {"/tags/tier": COMMIT, "/tags/owner": INPUT}},
    ),
    "by a commit that asks a data source for something else": Row(
        happens=both(
            lambda estate: estate.cloud.create(
                Kind.BUCKET, {"name": "other", "tags": {"owner": "other-team"}}
            ),
            commit((f'name = "{BY_HAND}"', 'name = "other"')),
        ),
        verdict=PENDING,
        found={LOGS_AT: {"/tags/owner": COMMIT}},
        slow=True,
    ),
    "by a variable and in the state": Row(
        happens=both(variables(size=50), applied_elsewhere(Kind.DATABASE, ORDERS, ORDERS_AT, version="16.1")),
        verdict=PENDING,
        found={ORDERS_AT: {"/size": INPUT, "/version": STATE, "/revision": NOISE}},
    ),
    "by hand and upstream": Row(
        happens=both(in_cloud(Kind.BUCKET, LOGS, versioning=True), publish),
        verdict=MIXED,
        found={LOGS_AT: {"/versioning": HAND, "/tags/subnet": INPUT}},
        slow=True,
    ),
    # Where a provider looks.
    "another provider configuration by a commit": Row(
        happens=commit(WWW_AWAY),
        verdict=PENDING,
        found={WWW_AT: {IT: COMMIT}},
        kinds={WWW_AT: CREATED},
        says=("Its provider configuration was sandbox and is sandbox.away: it is looked for where it never",),
    ),
    "a provider configuration changed by a commit, and another deletion": Row(
        happens=both(
            commit(("far = var.away", "far = var.home")),
            lambda estate: estate.cloud.delete(Kind.DNS_RECORD, WWW),
        ),
        verdict=MIXED,
        found={
            "sandbox_bucket.far[0]": {IT: COMMIT},
            "sandbox_bucket.far[1]": {IT: COMMIT},
            WWW_AT: {IT: HAND},
        },
        kinds={"sandbox_bucket.far[0]": CREATED, "sandbox_bucket.far[1]": CREATED, WWW_AT: DELETED},
    ),
    "a provider configuration changed by a variable": Row(
        happens=lambda estate: estate.variables.update(away=str(Cloud(estate.root / "nowhere").directory)),
        verdict=PENDING,
        found={"sandbox_bucket.far[0]": {IT: INPUT}, "sandbox_bucket.far[1]": {IT: INPUT}},
        kinds={"sandbox_bucket.far[0]": CREATED, "sandbox_bucket.far[1]": CREATED},
        slow=True,
    ),
    "a deletion where a commit elsewhere could have moved the provider": Row(
        happens=both(commit(TTL), lambda estate: estate.far.delete(Kind.BUCKET, "far-0")),
        verdict=MIXED,
        found={"sandbox_bucket.far[0]": {IT: HAND}, WWW_AT: {"/ttl": COMMIT}},
        kinds={"sandbox_bucket.far[0]": DELETED},
        slow=True,
    ),
}


@pytest.fixture(scope="module")
def _estate(terraform_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Estate:
    return build(tmp_path_factory.mktemp("causes"), terraform_binary)


@pytest.fixture
def estate(_estate: Estate) -> Estate:
    _estate.restore()
    return _estate


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if row.slow else []) for name, row in ROWS.items()]
)
def test_what_happened_is_named(estate: Estate, name: str) -> None:
    """Causes of every attribute, what counts, the verdict, the sentences; and nothing that was not done."""
    row = ROWS[name]

    row.happens(estate)
    reading = estate.check()

    told = _told(estate, reading)
    assert {address: _causes(finding) for address, finding in told.items()} == row.found
    assert {each.address for each in told.values() if each.counted} == {
        address for address, causes in row.found.items() if set(causes.values()) != {NOISE}
    }
    assert {each.address: each.kind for each in told.values() if each.kind is not FindingKind.MODIFIED} == (
        row.kinds
    )
    assert reading.verdict is row.verdict
    sentences = " ".join(explain(told[next(iter(row.found))])) if row.found else ""
    for part in row.says:
        assert part in sentences
    everything = repr(reading) + " ".join(" ".join(explain(each)) for each in reading.findings)
    assert not any(secret in everything for secret in (SECRET, SECRET_BY_HAND, SECRET_IN_CODE))


def _told(estate: Estate, reading: Reading) -> dict[str, Finding]:
    """What is told beside what always is: some tags are null in the state and {} in the cloud."""
    assert estate.baseline
    always = {each.fingerprint for each in estate.baseline.findings}
    return {each.address: each for each in reading.findings if each.fingerprint not in always}


def _causes(finding: Finding) -> dict[str, Cause | tuple[Cause, Cause]]:
    found: dict[str, Cause | tuple[Cause, Cause]] = {
        each.path: each.cause if each.also is None else (each.cause, each.also)
        for each in finding.attributes
        if (each.path, each.cause) != ("/tags", NOISE)
    }
    of_attributes = {cause for each in finding.attributes for cause in (each.cause, each.also)}
    (whole,) = (*(cause for cause in finding.causes if cause not in of_attributes), None)[:1]
    return found if whole is None else {IT: whole, **found}


def test_without_a_baseline_what_waits_is_undetermined_and_still_waits(estate: Estate) -> None:
    kept, estate.baseline = estate.baseline, None
    try:
        estate.commit(TTL)
        reading = estate.check()
    finally:
        estate.baseline = kept
    (finding,) = (each for each in reading.findings if each.counted)

    assert reading.verdict is PENDING
    assert finding.causes == (UNKNOWN,)
    assert finding.evidence is None
    assert "no earlier check in sync to compare with" in explain(finding)[0]


CHECKED = f"""
check "owner" {{
  data "sandbox_bucket" "it" {{
    name       = "{BY_HAND}"
    depends_on = [sandbox_dns_record.www]
  }}
  assert {{
    condition     = data.sandbox_bucket.it.tags["owner"] == "somebody-else"
    error_message = "It is not theirs."
  }}
}}
"""


def test_a_check_that_waits_for_an_apply_is_unknown_and_not_passed(estate: Estate) -> None:
    """Its data source depends on what a commit changes: this plan cannot say that the problem is gone."""
    estate.commit(add=CHECKED)
    failing = estate.check()
    estate.commit(TTL)
    put_off = estate.check()

    (finding,) = (each for each in failing.findings if each.kind is FindingKind.CHECK_FAILED)
    assert failing.unjudged == ()
    assert finding.identity not in {each.identity for each in put_off.findings}
    assert put_off.unjudged == (finding.identity,)
    assert put_off.verdict is PENDING


@pytest.mark.slow
@pytest.mark.aws
def test_a_commit_that_moves_a_region_deletes_nothing_by_hand(
    terraform_binary: Path,
    aws_mirror: Path,  # noqa: F811  (a fixture)
    aws_endpoint: str,  # noqa: F811  (a fixture)
    tmp_path: Path,
) -> None:
    """With the AWS provider, all of a region looks deleted in the next one, but a global bucket."""
    config = tmp_path / "terraform.rc"
    config.write_text(cli_config(aws_mirror))
    recorder = Recorder(
        binary=terraform_binary,
        cli_config=config,
        root=tmp_path / "it",
        environment={"AWS_ENDPOINT_URL": aws_endpoint, "NO_PROXY": "127.0.0.1"},
    )
    recorder.write({"main.tf": aws_scenario.CODE})
    recorder.run("init", "-input=false")
    recorder.run("apply", "-auto-approve", "-input=false")
    digest = Digester(b"k" * 32)
    before = read_plan(recorder.plan(), digest=digest, inputs=Inputs(commit="1", tree="1"), baseline=None)
    recorder.write({"main.tf": aws_scenario.CODE.replace('"eu-west-1"', '"us-west-2"')})

    after = read_plan(
        recorder.plan(), digest=digest, inputs=Inputs(commit="2", tree="2"), baseline=before.inputs
    )

    counted = {each.address: each for each in after.findings if each.counted}
    assert (before.verdict, after.verdict) == (IN_SYNC, PENDING)
    assert {each.causes for each in counted.values()} == {(COMMIT,)}
    assert counted["aws_sqs_queue.orders"].kind is CREATED
    assert "was aws (eu-west-1) and is aws (us-west-2)" in explain(counted["aws_sqs_queue.orders"])[1]
