"""Single values: what git, terraform or the file system would take for something else never gets in."""

from __future__ import annotations

import posixpath
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftwatch.config import values

if TYPE_CHECKING:
    from collections.abc import Callable


def accepted(check: Callable[[str], str], text: str) -> str | None:
    """The tidied value, or None where it is refused."""
    try:
        return check(text)
    except ValueError:
        return None


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/acme/platform.git",
        "https://git.example.com:8443/acme/platform",
        "http://127.0.0.1:3000/x.git",
        "ssh://git@git.example.com/acme/platform.git",
        "ssh://git@git.example.com:2222/acme/platform.git",
        "ssh://git@[::1]/x.git",
        "git@github.com:acme/platform.git",
        "github.com:acme/platform.git",
        "git@[::1]:acme/platform.git",
        "file:///srv/git/platform.git",
        "/srv/git/platform.git",
    ],
)
def test_urls_that_git_may_see(url: str) -> None:
    assert values.repository_url(url) == url


@pytest.mark.row(38)
@pytest.mark.parametrize(
    "url",
    [
        "",
        "-x",
        "--upload-pack=touch /tmp/x",
        "ext::sh -c touch% /tmp/x",
        "ext::https://git.example.com/x",
        "EXT::sh",
        "fd::17",
        "::x",
        "git://git.example.com/x.git",
        "ftp://git.example.com/x",
        "javascript://x",
        "ssh://-oProxyCommand=touch/x",
        "ssh://git@-oProxyCommand=x/y",
        "ssh://-l@host/y",
        "ssh://git:password@host/x",
        "https://token@git.example.com/x.git",
        "https://user:password@git.example.com/x.git",
        "https://git.example.com/x.git?private_token=x",
        "https://git.example.com/x.git#x",
        "https:///x.git",
        "https://git.example.com:99999/x",
        "https://[::1/x",
        "git@-oProxyCommand=x:y",
        "git@host:-x",
        "-git@host:x",
        "relative/path",
        "./relative",
        "../relative",
        "~/repository",
        "C:\\repository",
        "https://git.example.com/x\n.git",
        "https://git.example.com/x\x00.git",
        "https://git.example.com/\u202ex.git",
        "https://git.example.com/a b",
        "file://host/x",
        "file://relative",
    ],
)
def test_urls_that_it_must_not_see(url: str) -> None:
    """Row 38: options, remote helpers and credentials are refused before git is started."""
    assert accepted(values.repository_url, url) is None


@pytest.mark.parametrize(
    "url", ["https://user:hunter2hunter2@h/x", "ssh://git:hunter2hunter2@h/x", "ext::hunter2hunter2"]
)
def test_a_refused_url_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as refusal:
        values.repository_url(url)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("name", ["main", "release/1.2", "feature/JIRA-1_x", "größe", "v1", "a.b"])
def test_branches_that_git_allows(name: str) -> None:
    assert values.branch(name) == name


@pytest.mark.row(38)
@pytest.mark.parametrize(
    "name",
    [
        "",
        "-x",
        "--upload-pack=x",
        "a..b",
        "a b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[b",
        "a\\b",
        "@",
        "HEAD",
        "a@{1}",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a.lock",
        "a/b.lock/c",
        "a.",
        "a\x00",
        "a\nb",
        "a\x7f",
        "a\u202eb",
        "x" * 300,
    ],
)
def test_branches_that_git_or_we_refuse(name: str) -> None:
    """Row 38: a branch is never an option, and always a ref that git could hold."""
    assert accepted(values.branch, name) is None


@pytest.mark.parametrize("name", ["platform", "a", "0", "acme.platform-1_x"])
def test_repository_names(name: str) -> None:
    assert values.repository_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".git", "-x", "_x", "a/b", "a\\b", "a b", "a\n", "a\x00", "é", "x" * 101]
)
def test_repository_names_that_are_no_directory(name: str) -> None:
    assert accepted(values.repository_name, name) is None


@pytest.mark.parametrize(
    ("path", "tidy"),
    [
        ("envs/*/*", "envs/*/*"),
        ("**", "**"),
        (".", "."),
        ("./", "."),
        ("./envs/prod", "envs/prod"),
        ("envs/prod/", "envs/prod"),
        ("größe/x", "größe/x"),
        ("a/[bc]?/...", "a/[bc]?/..."),
        ("with space/x", "with space/x"),
    ],
)
def test_stack_paths(path: str, tidy: str) -> None:
    assert values.stack_path(path) == tidy


TRAVERSALS = [
    "..",
    "../x",
    "a/../../x",
    "a/..",
    "/etc",
    "//etc",
    "~/x",
    "~root",
    "a\x00b",
    "a\nb",
    "..%2fetc",
    "..%2Fetc",
    "%2e%2e/etc",
    "%2E%2e%5cetc",
    "a%00b",
    "..\\etc",
    "C:/x",
    "c:x",
    "\u2025/etc",
    "\uff0e\uff0e/etc",
    "..\uff0fetc",
    "\u2024\u2024/etc",
    "a\u2215b",
    "a\u2044b",
    ".\u200b./etc",
    "..\u200d/etc",
    "\u202e../etc",
    "./../x",
    "a/./b",
    "a//b",
    ".//x",
    "-chdir=x",
    "./-x",
    "a/-x",
    "--x",
    ":(top)x",
    ".git",
    ".GIT/hooks",
    "a/.Git",
    ".terraform/x",
    "a/.TERRAFORM",
    ".\uff47\uff49\uff54",
    " /x",
    "a/ b",
    "",
    "x" * 600,
]


@pytest.mark.row(39)
@pytest.mark.parametrize("path", TRAVERSALS)
def test_stack_paths_that_leave_or_mislead(path: str) -> None:
    """Row 39: `..`, absolute, NUL, percent escapes, lookalikes, and .git in any case."""
    assert accepted(values.stack_path, path) is None


PIECES = st.sampled_from(
    [
        "..",
        ".",
        "/",
        "//",
        "\\",
        "a",
        "envs",
        "*",
        "**",
        "-",
        "~",
        "%2f",
        "%2E",
        "%5c",
        "\x00",
        "\n",
        " ",
        ".git",
        ".GIT",
        "\u2025",
        "\uff0e",
        "\uff0f",
        "\u2215",
        "\u200b",
        "\ufeff",
        "\u2024",
        "C:",
        ":",
        "é",
        "\u0307",
        "\u1d4d",
    ]
)
HOSTILE = st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=20)


def assert_harmless(path: str) -> None:
    """What any program that later handles the path could do to it must keep it inside."""
    for seen in (path, unicodedata.normalize("NFKC", path), unicodedata.normalize("NFKC", path).casefold()):
        assert not seen.startswith(("/", "-", "~", ":"))
        assert not set(seen) & {"\\", "\x00", "\n", "\r", "\u200b", "\u202e"}
        parts = seen.split("/")
        assert ".." not in parts
        assert not any(part.startswith("-") or part.casefold() in (".git", ".terraform") for part in parts)
        inside = posixpath.normpath(posixpath.join("/checkout", seen))
        assert inside == "/checkout" or inside.startswith("/checkout/")
    assert "%2f" not in path.lower()
    assert "%2e" not in path.lower()


@pytest.mark.row(39)
@given(HOSTILE)
@example("..%2fetc")
@example("\uff0e\uff0e\uff0fetc")
def test_no_accepted_stack_path_leaves_the_checkout(text: str) -> None:
    """Row 39: whatever is accepted stays inside, also after normalisation and in any case; and is stable."""
    path = accepted(values.stack_path, text)
    if path is not None:
        assert_harmless(path)
        assert values.stack_path(path) == path


@pytest.mark.row(39)
@given(HOSTILE)
def test_var_files_only_climb_with_plain_dots(text: str) -> None:
    """Row 39: a var file may climb with `../`, openly, and does nothing else that a stack path may not."""
    path = accepted(values.var_file, text)
    if path is not None:
        below = "/".join("up" if part == ".." else part for part in path.split("/"))
        assert_harmless(below)


@pytest.mark.parametrize(
    "path", ["prod.tfvars", "../common.tfvars", "../../common/all.tfvars.json", "./x.tfvars"]
)
def test_var_files_that_people_write(path: str) -> None:
    assert values.var_file(path) == path.removeprefix("./")


@pytest.mark.parametrize(
    "path", ["/etc/x.tfvars", "~/x.tfvars", "..", "a/..", "..%2fx", "..\\x", "-var=x", "a\x00"]
)
def test_var_files_that_are_refused(path: str) -> None:
    assert accepted(values.var_file, path) is None


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "America/Argentina/Buenos_Aires", "Etc/GMT+5"])
def test_zones(zone: str) -> None:
    assert values.timezone(zone) == zone


@pytest.mark.parametrize(
    "zone",
    [
        "",
        "Europe",
        "Europe/Pariss",
        "CEST+1",
        "../UTC",
        "/etc/passwd",
        "localtime",
        "posix/UTC",
        "x\x00",
        "UTC\n",
    ],
)
def test_zones_that_are_not_iana(zone: str) -> None:
    assert accepted(values.timezone, zone) is None


def test_a_misspelt_zone_is_answered_with_the_near_one() -> None:
    with pytest.raises(ValueError, match="did you mean Europe/Paris"):
        values.timezone("europe/pariss")


@pytest.mark.parametrize(
    "text", ["0 * * * *", "*/15 8-18 * * mon-fri", "0 0 29 2 *", "0 0 L * *", "0  6 * * 1,3"]
)
def test_cron(text: str) -> None:
    assert values.cron(text) == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 0 31 2 *", "never happens"),
        ("0 0 30 2 *", "never happens"),
        ("@hourly", "five fields"),
        ("* * * *", "five fields"),
        ("0 * * * * *", "five fields"),
        ("", "five fields"),
        ("61 * * * *", "no cron"),
        ("x * * * *", "no cron"),
        ("*/0 * * * *", "no cron"),
        ("R * * * *", "fixed times"),
        ("h * * * *", "fixed times"),
        ("1," * 200 + "1 * * * *", "too long"),
    ],
)
def test_cron_that_is_none(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        values.cron(text)


@given(st.text(alphabet="0123456789*/,-LlRh# monfriW?\x00", max_size=25))
def test_cron_never_raises_anything_else(text: str) -> None:
    accepted(values.cron, text)


@pytest.mark.parametrize(
    "text", ["127.0.0.1:8080", "0.0.0.0:80", "[::1]:8080", "localhost:0", "dw.internal:65535"]
)
def test_listen_addresses(text: str) -> None:
    assert values.listen_address(text) == text


@pytest.mark.parametrize(
    "text", ["", "8080", ":8080", "::1:8080", "host:", "host:65536", "host:-1", "a b:1", "[::1]", "x:٨"]
)
def test_listen_addresses_that_are_none(text: str) -> None:
    assert accepted(values.listen_address, text) is None


@pytest.mark.parametrize("name", ["default", "prod", "team-a_1.x", "a+b"])
def test_workspaces(name: str) -> None:
    assert values.workspace(name) == name


@pytest.mark.parametrize("name", ["", "-x", ".", "..", "a@b", "a/b", "a b", "a\n", "a%2fb", "é", "a\\b"])
def test_workspaces_that_terraform_or_we_refuse(name: str) -> None:
    assert accepted(values.workspace, name) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a-b",
        "1A",
        "A=B",
        "A\n",
        "TF_DATA_DIR",
        "TF_CLI_ARGS_plan",
        "TF_CLI_CONFIG_FILE",
        "TF_REATTACH_PROVIDERS",
    ],
)
def test_environment_variables_that_stacks_may_not_set(name: str) -> None:
    assert accepted(values.environment_name, name) is None


@pytest.mark.parametrize("name", ["AWS_REGION", "TF_VAR_x", "TF_LOG", "_x", "http_proxy"])
def test_environment_variables_that_they_may(name: str) -> None:
    assert values.environment_name(name) == name


@pytest.mark.parametrize(
    "url", ["ftp://x", "https://", "x", "https://u:p@h/", "https://h/\n", "http://[::1", "file:///x"]
)
def test_web_urls_that_are_none(url: str) -> None:
    assert accepted(values.web_url, url) is None


@pytest.mark.parametrize(
    "text",
    ["2026-12-20", "2026-13-20T00:00", "2026-12-20T00:00:00Z", "20261220T000000", "1", "2026-02-30T00:00"],
)
def test_moments_that_are_no_local_time(text: str) -> None:
    assert accepted(lambda value: str(values.local_moment(value)), text) is None
