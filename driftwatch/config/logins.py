"""Whose a login on a forge is: one person's, on one host.

Pure, over what may not be validated yet. Two servers of one kind have their own accounts, and whoever makes
one there chooses its name: a login without its host counts only where all repositories of that kind are on
the same one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from driftwatch.config.section import items_of, part_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from driftwatch.config.section import Contradiction

_OWN_HOSTS = {"github": "github.com", "gitlab": "gitlab.com"}


def forge_host(kind: str, api_url: str | None) -> str:
    """The host where people have the accounts that an API tells of, with a port that is not the usual one."""
    own = _OWN_HOSTS.get(kind, "")
    if api_url is None:
        return own
    parts = urlsplit(api_url)
    usual = {"https": ":443", "http": ":80"}.get(parts.scheme, "")
    host = parts.netloc.rpartition("@")[2].casefold().removesuffix(usual)
    # GitHub has the API of its own hosts below another name; a server of one's own has it beside the rest.
    is_beside = kind == "github" and (host == f"api.{own}" or host.endswith(".ghe.com"))
    return host.removeprefix("api.") if is_beside else host


def one_person_each(given: Mapping[str, Any]) -> Iterator[Contradiction]:
    """Whoever presses a button or comments is one person: an id or a login stands for one name only."""
    users = given.get("users")
    for key, what in (("slack", "id"), ("github", "login"), ("gitlab", "login")):
        hosts = _hosts(given.get("repositories"), key) if key != "slack" else []
        seen: dict[str, str] = {}
        for name, person in users.items() if isinstance(users, dict) else ():
            for place, each in enumerate(items_of(part_of(person, key))):
                if not isinstance(each, str):
                    continue
                where = ("users", name, key, place)
                if len(hosts) > 1 and "/" not in each:
                    yield where, f"must be HOST/LOGIN, as repositories are on {' and '.join(hosts)}"
                account = _account(each, hosts[0] if hosts else _OWN_HOSTS.get(key, ""))
                if seen.setdefault(account, str(name)) != str(name):
                    yield where, f"is the {what} of {seen[account]!r} too"


def _account(login: str, host: str) -> str:
    return (login if "/" in login else f"{host}/{login}").casefold()


def _hosts(repositories: object, kind: str) -> list[str]:
    """The hosts of one kind that repositories are on."""
    found = set[str]()
    for repository in repositories.values() if isinstance(repositories, dict) else ():
        forge = part_of(repository, "forge")
        api_url = part_of(forge, "api_url")
        if part_of(forge, "kind") == kind and isinstance(api_url, str | None):
            found.add(forge_host(kind, api_url))
    return sorted(found)
