"""What the configuration says, validated and frozen; the shape that the rest of driftwatch reads.

Every setting states its unit, its default and the reason for the default, in its description, so that the
JSON Schema (and with it an editor) says the same. Files are read by `driftwatch.config.load`, which reports
all problems at once; nothing reads the environment after that.

A validation context of the type `Place` says where the file lies: relative paths are made absolute with it.
Without one (settings made in Python) they stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping  # noqa: TC003  (pydantic reads annotations at run time)
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue  # noqa: TC002
from pydantic_core import CoreSchema  # noqa: TC002

from driftwatch.config import values
from driftwatch.config.dependencies import declared_cycles
from driftwatch.config.durations import Duration, Interval, PositiveDuration  # noqa: TC001  (as above)
from driftwatch.config.gitops import ForgeSettings, PreviewSettings, SigningSettings, names_signers
from driftwatch.config.hooks import HooksSettings, unknown_repositories
from driftwatch.config.logins import one_person_each
from driftwatch.config.notify import NotifySettings
from driftwatch.config.places import LocalPath, resolved
from driftwatch.config.releases import ReleasesSettings
from driftwatch.config.repair import RepairSettings
from driftwatch.config.rules import RulesSettings
from driftwatch.config.section import (
    BY_REFERENCE,
    Contradiction,
    Name,
    Secret,
    Section,
    StackPattern,
    Text,
    Whole,
    Zone,
    again_in,
    once,
)
from driftwatch.model import DEFAULT_WORKSPACE, JsonValue


def _resolved_source(value: str, info: ValidationInfo) -> str:
    if "://" not in value:
        return str(resolved(value, info))
    if not value.startswith("https://"):
        raise ValueError("must be a directory or an https:// URL: terraform takes no other network mirror")
    return values.web_url(value)


def _resolved_binary(value: str, info: ValidationInfo) -> str:
    values.plain_text(value)
    if value.startswith("-"):
        raise ValueError("must not start with a dash")
    return str(resolved(value, info)) if "/" in value else value


def _number_as_text(value: object) -> object:
    """People leave the quotes of an account id out; the loader keeps one with leading zeros as text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _moment(value: object) -> datetime:
    return (
        value if isinstance(value, datetime) else values.local_moment(value if isinstance(value, str) else "")
    )


def _moment_or_none(value: object) -> datetime | None:
    try:
        return _moment(value)
    except ValueError:
        return None  # the field's own validation says what is wrong with it


def _switch_as_text(value: object) -> object:
    """Backends have switches (`encrypt: true`), which `-backend-config` takes as text."""
    return str(value).lower() if isinstance(value, bool) else _number_as_text(value)


StackPath = Annotated[str, AfterValidator(values.stack_path)]
VarFile = Annotated[str, AfterValidator(values.var_file)]
Cron = Annotated[str, AfterValidator(values.cron)]
EnvironmentName = Annotated[str, AfterValidator(values.environment_name)]
RepositoryName = Annotated[
    str,
    AfterValidator(values.repository_name),
    WithJsonSchema({"type": "string", "pattern": values.REPOSITORY_NAME}),
]
LocalMoment = Annotated[
    datetime,
    BeforeValidator(_moment),
    PlainSerializer(datetime.isoformat, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": values.LOCAL_MOMENT}),
]


class Schedule(Section):
    """When a stack is checked again: `every` so often, by `cron`, or as the word `continuous` says."""

    every: Interval | None = Field(
        default=None,
        description="Time from one check to the next; a duration. Default none: one of every, cron or "
        "continuous is given.",
    )
    cron: Cron | None = Field(
        default=None,
        description="Five fields: minute, hour, day of month, month, day of week. Default none, as for "
        "`every`.",
    )
    timezone: Zone = Field(
        default="UTC",
        description="IANA zone in which `cron` is meant. Default UTC: it has no change of clocks.",
    )
    continuous: bool = Field(
        default=False,
        description="Check again as often as the section `continuous` allows, the longest unchecked first; "
        "written as the word `continuous` in place of a mapping. Default false: it keeps a steady load on "
        "the cloud's API, which is yours to choose.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, data: object) -> object:
        return {"continuous": True} if data == "continuous" else data

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:
        every, cron = given.get("every") is not None, given.get("cron") is not None
        if [every, cron, given.get("continuous") is True].count(True) != 1:
            yield (), "must hold exactly one of `every` and `cron`, or be the word `continuous`"
        if not cron and given.get("timezone", "UTC") != "UTC":
            yield ("timezone",), "has a meaning only with `cron`"

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        mapping = handler.resolve_ref_schema(handler(core_schema))
        title, about = mapping.pop("title"), mapping.pop("description")
        return {"title": title, "description": about, "anyOf": [{"const": "continuous"}, mapping]}


class IdentitySettings(Section):
    """Who the credentials must belong to before a verdict counts."""

    aws_account: (
        Annotated[
            str,
            BeforeValidator(_number_as_text),
            AfterValidator(values.aws_account),
            WithJsonSchema({"type": "string", "pattern": values.AWS_ACCOUNT}),
        ]
        | None
    ) = Field(
        default=None,
        description="The AWS account id, 12 digits, in quotes. Default none: not every stack is on AWS. "
        "With the wrong account everything would look deleted, so name it where you can.",
    )


class StackSettings(Section):
    """One glob of root modules and how they are treated."""

    path: StackPath = Field(
        description="Glob of directories in the repository: `*` within one level, `**` over any number. "
        "Relative, `/` between levels, no `..`. No default: it says what is watched.",
    )
    workspaces: Annotated[
        tuple[Annotated[str, AfterValidator(values.workspace)], ...], AfterValidator(once)
    ] = Field(
        default=(DEFAULT_WORKSPACE,),
        min_length=1,
        description="Terraform workspaces; each is a stack of its own. "
        "Default [default]: the one that every root module has.",
    )
    engine: Literal["auto", "terraform", "tofu", "terragrunt"] = Field(
        default="auto",
        description="Which program plans; `terragrunt` says that these are its units, each planned by itself "
        "and never applied. Default auto: what the stack's version files and required_version ask for.",
    )
    var_files: tuple[VarFile, ...] = Field(
        default=(),
        description="Var files in order, relative to the stack's directory; `../` may climb, but not "
        "leave the repository. Default none: terraform reads terraform.tfvars and *.auto.tfvars by itself.",
    )
    variables: dict[Annotated[str, AfterValidator(values.variable_name)], JsonValue] = Field(
        default_factory=dict,
        repr=False,
        description="Input variables, any YAML value. Default none: most stacks bring their own values.",
    )
    environment: dict[EnvironmentName, SecretStr] = Field(
        default_factory=dict,
        description="Environment variables of terraform and its providers, such as credentials and regions. "
        "Default none: a stack sees nothing of the daemon's environment unless it is told so.",
    )
    apply_environment: dict[EnvironmentName, SecretStr] = Field(
        default_factory=dict,
        description="Environment variables of applies alone, on top of `environment`: the credentials that "
        "may change something. Default none: with those for looking, an apply fails at the cloud.",
    )
    backend_config: dict[
        Annotated[str, AfterValidator(values.backend_key)],
        Annotated[
            SecretStr,
            BeforeValidator(_switch_as_text),
            WithJsonSchema({"type": ["string", "boolean", "integer"], "writeOnly": True}),
        ],
    ] = Field(
        default_factory=dict,
        description="Partial backend configuration, as in -backend-config=KEY=VALUE. "
        "Default none: most backends are configured in the code.",
    )
    labels: dict[Text, Text] = Field(
        default_factory=dict,
        description="Free words to group stacks by. Default none: they only help where somebody chose them.",
    )
    owners: tuple[Text, ...] = Field(
        default=(),
        description="Who is named in alerts. Default none: the channel is told, and nobody in particular.",
    )
    schedule: Schedule = Field(
        default=Schedule(every=timedelta(minutes=15)),
        description="When a stack is checked again, besides on new commits. Default every 15m: a change "
        "by hand is told while whoever made it is still at work, and an ordinary plan costs a cloud few "
        "enough requests.",
    )
    on_drift: Literal["notify", "propose", "apply", "adopt"] = Field(
        default="notify",
        description="What follows a drift: it is told; a repair is proposed; it is applied too, by the "
        "guards and in the windows, where `repair.automatic` is true; or the code is brought to the cloud, "
        "by a pull request or a branch that people merge (`adopt`). Default notify: detection acts only "
        "where it is told to.",
    )
    on_commit: Literal["notify", "propose", "apply"] = Field(
        default="notify",
        description="What follows a merged commit that is not applied: it is told, proposed or applied. "
        "Default notify, as for on_drift.",
    )
    depends_on: tuple[StackPattern, ...] = Field(
        default=(),
        description="Stack ids or globs that this one reads from: their repairs come before its own. Default "
        "none: stacks are repaired in the order of their proposals.",
    )
    depends_on_labels: dict[Text, Text] = Field(
        default_factory=dict,
        description="Stacks with all these labels, in any repository, come before this one, as with "
        "`depends_on`. Default none: labels mean what you want them to.",
    )
    identity: IdentitySettings = Field(
        default=IdentitySettings(),
        description="Who the credentials must belong to before a verdict counts. "
        "Default nobody in particular: only you know which account is right.",
    )

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:
        if given.get("engine") != "terragrunt":
            return
        for key in ("on_drift", "on_commit"):
            if given.get(key, "notify") != "notify":
                yield (
                    (key,),
                    "must be `notify` where the engine is terragrunt: its units are never applied here",
                )
        if given.get("workspaces", [DEFAULT_WORKSPACE]) not in ([DEFAULT_WORKSPACE], (DEFAULT_WORKSPACE,)):
            yield ("workspaces",), "must be left out where the engine is terragrunt, which has none"
        if given.get("backend_config"):
            yield (
                ("backend_config",),
                "must be left out where the engine is terragrunt: use `remote_state` there",
            )


class RepositorySettings(Section):
    """One Git repository."""

    url: Annotated[str, AfterValidator(values.repository_url)] = Field(
        description="https://, ssh://, git@host:path, file:// or an absolute path; without credentials. "
        "No default.",
    )
    branch: Annotated[str, AfterValidator(values.branch)] = Field(
        default="main",
        description="The branch that is the truth. Default main: what Git hosts name it.",
    )
    poll: Interval = Field(
        default=timedelta(seconds=60),
        description="Time between two looks for new commits; a duration. Default 60s: a merge is seen "
        "within a minute, and one small request a minute troubles no Git host.",
    )
    signatures: Literal["off", "head", "tags"] = Field(
        default="off",
        description="Which commits count: `head`, where the branch's newest must carry a valid signature of "
        "one of `signers`, and must not be one that came before the one in use; `tags`, the newest one that "
        "a tag with such a signature points at, of those that come after the one in use, or at first of the "
        "branch's own line; `off`, any. Default off: whoever may push to the branch is trusted, as the Git "
        "host has it.",
    )
    signers: SigningSettings = Field(
        default=SigningSettings(),
        description="Whose signatures count where `signatures` asks for one. Default nobody's.",
    )
    protected_paths: tuple[StackPath, ...] = Field(
        default=(".driftwatch.yaml",),
        description="Files or globs of which a change needs people: a commit that touches one is deployed by "
        "nothing but an approval, and a pull request is planned when somebody with the right has said so. "
        "What counts are the commits since a stack was deployed last, or where it never was, since it was "
        "last in sync; labels, owners and schedules of a changed .driftwatch.yaml hold at once. "
        "Default [.driftwatch.yaml]: what driftwatch itself is told.",
    )
    forge: ForgeSettings | None = Field(
        default=None,
        description="GitHub or GitLab, where it is hosted there. Default none: pull requests are not "
        "previewed, and what is adopted into the code becomes a branch.",
    )
    previews: PreviewSettings = Field(
        default=PreviewSettings(),
        description="Plans of pull requests, where there is a `forge`. Default: see each key.",
    )
    token: Secret | None = Field(
        default=None,
        description="Access token for an https URL, only as ${env:NAME} or ${file:PATH}. "
        "Default none: a public or local repository needs none.",
        json_schema_extra={BY_REFERENCE: True},
    )
    username: Annotated[str, AfterValidator(values.user_name)] = Field(
        default="x-access-token",
        description="User name that goes with `token`. Default x-access-token: GitHub wants it, GitLab "
        "takes any.",
    )
    ssh_key: LocalPath | None = Field(
        default=None,
        description="Private key file for an ssh URL. Default none: ssh takes what its own configuration "
        "names.",
    )
    ssh_known_hosts: LocalPath | None = Field(
        default=None,
        description="File with the host keys to trust. Default none: ssh's own known_hosts is used.",
    )
    submodules: bool = Field(
        default=False,
        description="Whether submodules are fetched too. Default false: they name URLs that nobody here "
        "has vetted.",
    )
    max_size_mb: Whole = Field(
        default=2048,
        ge=1,
        description="Largest mirror, MiB. Default 2048: room for old monorepos, and a cap before the disk "
        "is full.",
    )
    max_files: Whole = Field(
        default=200_000,
        ge=1,
        description="Most files in one commit. Default 200000: above the largest monorepos of Terraform "
        "code, below what makes a checkout take minutes.",
    )
    timeout: PositiveDuration = Field(
        default=timedelta(minutes=5),
        description="Longest fetch; a duration. Default 5m: a first clone of a large repository fits, a "
        "hanging one ends.",
    )
    stacks: tuple[StackSettings, ...] = Field(
        default=(StackSettings(path="**"),),
        description="Which root modules are watched, and how; of several globs that match one, the first "
        "counts. Default every root module: what is not looked at drifts unseen.",
    )

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:
        url = given.get("url")
        if given.get("token") is not None and isinstance(url, str) and url.lower().startswith("http://"):
            yield ("url",), "must be https where there is a `token`: http would send it in clear"
        for key in again_in(given, "stacks", "path"):
            yield key, "is the path of an earlier entry too; this one would never be used"
        if given.get("signatures") in ("head", "tags") and not names_signers(given.get("signers")):
            yield ("signatures",), "needs `signers`: without any, no commit could ever be used"


class TerraformSettings(Section):
    """How terraform or tofu runs."""

    binary: Annotated[str, AfterValidator(_resolved_binary)] = Field(
        default="auto",
        description="`auto`, a name on PATH, or a path. Default auto: of the binaries found, the one that "
        "fits the stack.",
    )
    provider_mirrors: tuple[Annotated[str, AfterValidator(_resolved_source)], ...] = Field(
        default=(),
        description="Directories or https URLs that providers are installed from, instead of their "
        "registries. Default none: the registries, as terraform does by itself.",
    )
    cli_config: LocalPath | None = Field(
        default=None,
        description="A CLI configuration file to use as it is. Default none: driftwatch writes a strict "
        "one, which ignores plugins that lie in a repository.",
    )
    inherit_environment: Annotated[tuple[EnvironmentName, ...], AfterValidator(once)] = Field(
        default=(),
        description="Names of the daemon's environment variables that terraform may see. Default none: "
        "what one stack must not know stays out of all of them.",
    )
    parallelism: Whole = Field(
        default=10,
        ge=1,
        le=256,
        description="Operations at once within one plan, as in -parallelism. Default 10: terraform's own.",
    )
    plan_timeout: PositiveDuration = Field(
        default=timedelta(minutes=30),
        description="Longest plan; a duration. Default 30m: thousands of resources fit, a hanging "
        "provider ends.",
    )
    init_timeout: PositiveDuration = Field(
        default=timedelta(minutes=10),
        description="Longest init; a duration. Default 10m: large providers over a slow line fit.",
    )
    plan_lock: bool = Field(
        default=False,
        description="Whether a plan takes the state lock. Default false: looking must not keep others "
        "from applying.",
    )
    max_plan_mb: Whole = Field(
        default=512,
        ge=1,
        description="Largest plan document as JSON, MiB. Default 512: above real ones of 10,000 "
        "resources, below what would take a small machine's memory.",
    )
    min_free_mb: Whole = Field(
        default=256,
        ge=0,
        description="Free disk space below which no plan starts, MiB; 0 turns the check off. Default 256: "
        "a plan that runs out of space in its middle says nothing.",
    )
    releases: ReleasesSettings = Field(
        default=ReleasesSettings(),
        description="Where `driftwatch tools install` gets versions from. Default the vendors' own, "
        "verified; nothing is installed by itself.",
    )


class WebSettings(Section):
    """The HTTP server."""

    listen: Annotated[str, AfterValidator(values.listen_address)] = Field(
        default="127.0.0.1:8080",
        description="HOST:PORT of health, readiness, metrics, the API and Slack's hook. Default "
        "127.0.0.1:8080: nothing of driftwatch is open to a network unless somebody says so; then put a "
        "proxy that speaks TLS before it.",
    )


class ServiceSettings(Section):
    """The daemon itself."""

    workers: Whole = Field(
        default=2,
        ge=1,
        le=256,
        description="Checks at once. Default 2: a plan keeps about two cores and several hundred MiB busy.",
    )
    shutdown_grace: Duration = Field(
        default=timedelta(seconds=60),
        description="Time that running checks get to end after SIGTERM; a duration. Default 60s: most "
        "plans end by themselves in it, and it is below the 90s after which systemd kills.",
    )


class WarmSettings(Section):
    """Provider processes that stay alive between plans, and replays of what a plan has read."""

    enabled: bool = Field(
        default=True,
        description="Whether plans go through warm providers and are replayed where that proves enough. "
        "Default true: the same verdicts for a fraction of the CPU. False plans as terraform does by itself.",
    )
    processes: Whole = Field(
        default=12,
        ge=1,
        le=1024,
        description="Most provider processes at once. Default 12: two checks of stacks with several "
        "configurations each, and some that stay warm for the next.",
    )
    memory_mb: Whole = Field(
        default=4096,
        ge=64,
        description="Most memory of all provider processes together, MiB; those idle longest go first. "
        "Default 4096: a dozen of a big cloud's, which have 200 to 400 each.",
    )
    idle: PositiveDuration = Field(
        default=timedelta(minutes=30),
        description="How long a provider process may wait for its next use; a duration. Default 30m: "
        "longer than the usual time between two checks of a stack, else nothing would ever be warm.",
    )
    full_plan_every: PositiveDuration = Field(
        default=timedelta(hours=24),
        description="After this time a real plan runs even where a replay could stand in; a duration. "
        "Default 24h: what nobody has thought of is then found within a day.",
    )
    shadow_every: Whole = Field(
        default=50,
        ge=0,
        description="One replay in so many is followed by a plain plan, to compare; 0 means none. "
        "Default 50: a provider whose replays cannot be trusted is found soon, for two percent of plans.",
    )
    replay_timeout: PositiveDuration = Field(
        default=timedelta(minutes=2),
        description="Longest replay; a duration; a plan runs after it. Default 2m: hundreds of reads fit, "
        "and a cloud that hangs does not hold a worker.",
    )
    recordings_mb: Whole = Field(
        default=256,
        ge=1,
        description="Most memory for recordings, MiB; the others lie encrypted below `state_dir`. "
        "Default 256: those of some hundred stacks.",
    )


class ContinuousSettings(Section):
    """What limits the checks of stacks whose schedule is `continuous`."""

    min_interval: PositiveDuration = Field(
        default=timedelta(seconds=30),
        description="Shortest time between two checks of one stack; a duration. Default 30s: a change by "
        "hand is known before whoever made it has left the console.",
    )
    plan_interval: PositiveDuration = Field(
        default=timedelta(minutes=15),
        description="Time between two checks of a stack that cannot be replayed; a duration. Default 15m, "
        "as for any stack: each costs a plan.",
    )
    reads_per_minute: Whole = Field(
        default=600,
        ge=1,
        description="Most replayed reads per minute in one account and region. Default 600: half of what "
        "the big clouds allow for the slowest of the usual calls.",
    )
    cpu_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Part of the machine's CPU that driftwatch may take with continuous checks; 1 is all "
        "cores. Default 0.5: the other half is for checks that somebody waits for.",
    )


class FindingsSettings(Section):
    """When people hear again of findings, and when a stack counts as watched by nobody."""

    allowed_age: PositiveDuration | None = Field(
        default=None,
        description="Longest time without a good check before a stack is stale; a duration. Default none: "
        "`allowed_periods` of its schedule, which fits a continuous one and a weekly one alike.",
    )
    allowed_periods: Whole = Field(
        default=3,
        ge=1,
        le=100,
        description="So many periods of its schedule may pass without a good check before a stack is "
        "stale; at least 15 minutes. Default 3: one check that fails and one that is late are no alarm yet.",
    )
    remind_after: Duration = Field(
        default=timedelta(days=3),
        description="People are reminded of open findings that nobody has acknowledged, snoozed or "
        "accepted, when they last heard of them so long ago; a duration, 0s for never. Default 3d: long "
        "enough to repair it, short enough not to forget it.",
    )
    failing_checks: Whole = Field(
        default=2,
        ge=1,
        le=100,
        description="So many checks of a stack must fail in a row before it is told, where the error may "
        "pass by itself: a cloud that does not answer, a state that somebody holds locked. What only a "
        "person can mend is told at once. Default 2: one hiccup is no news, two are.",
    )
    flapping_turns: Whole = Field(
        default=3,
        ge=2,
        le=100,
        description="A finding that comes back so many times within `flapping_within` is told as one that "
        "comes and goes, and not at every turn. Default 3: twice may be chance.",
    )
    flapping_within: PositiveDuration = Field(
        default=timedelta(hours=24),
        description="See `flapping_turns`; also how long such a finding must stay, or stay away, to have "
        "settled; a duration. Default 24h: what somebody switches on and off every day is seen.",
    )


class PersonSettings(Section):
    """Somebody who may do something from outside the terminal: press a button in Slack, have a token."""

    slack: Annotated[tuple[Annotated[str, AfterValidator(values.slack_user)], ...], AfterValidator(once)] = (
        Field(
            default=(),
            description="Member ids in Slack (U… or W…, in their profile under More). Default none: then "
            "nothing that is pressed in Slack is theirs. A name is no id: anybody may take one.",
        )
    )
    git: Annotated[tuple[Annotated[str, AfterValidator(values.plain_text)], ...], AfterValidator(once)] = (
        Field(
            default=(),
            description="Their names as the author of commits. Default none. Where somebody else has to "
            "approve a change than its author, it is told from these who that is.",
        )
    )
    github: Annotated[
        tuple[Annotated[str, AfterValidator(values.forge_login)], ...], AfterValidator(once)
    ] = Field(
        default=(),
        description="Their logins on GitHub, whatever the case; HOST/LOGIN where repositories are on several "
        "GitHubs. Default none: then nothing that is said in a pull request there is theirs.",
    )
    gitlab: Annotated[
        tuple[Annotated[str, AfterValidator(values.forge_login)], ...], AfterValidator(once)
    ] = Field(default=(), description="Their user names on GitLab. Default none, as for `github`.")
    rights: Annotated[
        tuple[
            Literal["view", "check", "acknowledge", "accept", "approve", "apply", "override_window", "admin"],
            ...,
        ],
        AfterValidator(once),
    ] = Field(
        default=("view",),
        description="What they may do: `view` details; `check` now; `acknowledge`, which is also to snooze "
        "and re-open; `accept` a difference; `apply`, which is to ask for a repair; `admin`, all of it. "
        "`approve` a proposal; `override_window` with a reason. Default [view]: the rest is given to people "
        "by name.",
    )
    stacks: tuple[StackPattern, ...] = Field(
        default=("*",),
        min_length=1,
        description='Stack ids or globs for which they have these rights. Default ["*"], all.',
    )


class WindowSettings(Section):
    """When repairs may be applied without a person, or must not be."""

    name: Name = Field(description="Names the window in explanations. No default.")
    kind: Literal["allow", "deny"] = Field(description="An active deny beats any allow. No default.")
    cron: Cron | None = Field(
        default=None,
        description="When it opens: five fields, in `timezone`; goes with `duration`. Default none: from "
        "and to are given.",
    )
    duration: PositiveDuration | None = Field(
        default=None,
        description="How long it stays open, elapsed time; a duration. Default none: goes with `cron`.",
    )
    from_: LocalMoment | None = Field(
        default=None,
        alias="from",
        description="Local date and time at which it opens once; goes with `to`. Default none: cron is "
        "given.",
    )
    to: LocalMoment | None = Field(
        default=None,
        description="Local date and time at which it closes for good. Default none: goes with `from`.",
    )
    timezone: Zone = Field(
        default="UTC",
        description="IANA zone of cron, from and to. Default UTC: it has no change of clocks.",
    )
    stacks: tuple[StackPattern, ...] = Field(
        default=("*",),
        min_length=1,
        description='Stack ids or globs that it is for. Default ["*"], all: a deny that misses one is '
        "dangerous.",
    )
    labels: dict[Text, Text] = Field(
        default_factory=dict,
        description="Only stacks with all these labels. Default none: all that `stacks` names.",
    )
    manual: bool = Field(
        default=False,
        description="Whether a person with the right to may apply in spite of it, with a reason. "
        "Default false: a freeze that anybody lifts is none.",
    )

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:
        has = {key for key in ("cron", "duration", "from", "to") if given.get(key) is not None}
        if has not in ({"cron", "duration"}, {"from", "to"}):
            yield (), "must have either `cron` and `duration`, or `from` and `to`"
        opens, closes = _moment_or_none(given.get("from")), _moment_or_none(given.get("to"))
        if opens and closes and closes <= opens:
            yield ("to",), "must be later than `from`"


class Settings(Section):
    """One whole configuration."""

    state_dir: LocalPath = Field(
        default=Path("state"),
        validate_default=True,
        description="Directory for the database, mirrors and caches. Default ./state beside the file: "
        "everything in one place, and nothing outside it.",
    )
    database: (
        Annotated[
            SecretStr,
            WithJsonSchema({"type": "string", "pattern": r"^(postgresql://|\$\{(env|file):)"}),
        ]
        | None
    ) = Field(
        default=None,
        description="postgresql://… where several machines share one database; its password only as "
        "${env:NAME} or ${file:PATH}. Default null, SQLite below state_dir: one machine needs no server.",
    )
    repositories: dict[RepositoryName, RepositorySettings] = Field(
        json_schema_extra={"additionalProperties": False},
        description="The repositories that are watched, by name. No default: there must be something to "
        "watch.",
    )
    terraform: TerraformSettings = Field(
        default=TerraformSettings(), description="How terraform or tofu runs. Default: see each key."
    )
    repository_may_set: Annotated[
        tuple[Literal["labels", "owners", "schedule"], ...], AfterValidator(once)
    ] = Field(
        default=("labels", "owners", "schedule"),
        description="What a repository's own .driftwatch.yaml may say about its stacks. "
        "Default these three: whoever can merge may say them, none of them reaches credentials or commands.",
    )
    windows: tuple[WindowSettings, ...] = Field(
        default=(),
        description="When repairs may be applied by themselves, or must not be. Default none: nothing is "
        "ever applied by itself.",
    )
    rules: RulesSettings = Field(
        default=RulesSettings(),
        description="What is noise here, what counts all the same, and how much it matters. Default: the "
        "shipped rules.",
    )
    repair: RepairSettings = Field(
        default=RepairSettings(),
        description="What may be applied, and by whom. Default: nothing without a person, see each key.",
    )
    notify: NotifySettings = Field(
        default=NotifySettings(), description="Who is told. Default: nobody, see each key."
    )
    users: dict[Name, PersonSettings] = Field(
        default_factory=dict,
        description="Who may do what from outside the terminal, by name. Default nobody: whoever is not "
        "here may look at what is told, and do nothing.",
    )
    web: WebSettings = Field(default=WebSettings(), description="The HTTP server. Default: see each key.")
    hooks: HooksSettings = Field(
        default=HooksSettings(),
        description="Webhooks of forges, CI jobs and scripts. Default none: polling finds what they tell.",
    )
    service: ServiceSettings = Field(
        default=ServiceSettings(), description="The daemon itself. Default: see each key."
    )
    warm: WarmSettings = Field(
        default=WarmSettings(), description="Warm providers and replay. Default: see each key."
    )
    continuous: ContinuousSettings = Field(
        default=ContinuousSettings(),
        description="Limits of `schedule: continuous`. Default: see each key.",
    )
    findings: FindingsSettings = Field(
        default=FindingsSettings(),
        description="When people hear again of findings, and when a stack is stale. Default: see each key.",
    )

    @field_validator("database")
    @classmethod
    def _one_of_two_databases(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith("postgresql://"):
            raise ValueError("must be a postgresql:// URL, or null for SQLite below `state_dir`")
        return value

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:
        for key in again_in(given, "windows", "name"):
            yield key, "is the name of an earlier window too"
        yield from one_person_each(given)
        yield from unknown_repositories(given)
        yield from declared_cycles(given.get("repositories"))
        names = given.get("repositories")
        seen: dict[str, str] = {}
        for name in names if isinstance(names, dict) else ():
            other = seen.setdefault(str(name).casefold(), str(name))
            if other != name:
                yield ("repositories", name), "differs from another name only in case"
