"""Trust: a head counts where somebody who may has signed it, and the last good one stays where not."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.config.gitops import SigningSettings
from driftwatch.config.signing import key_fingerprint
from driftwatch.errors import (
    HeadRewoundError,
    RemoteRefusedError,
    SignatureMissingError,
    SignersUnusableError,
)
from driftwatch.git import trust
from driftwatch.git.trust import signature_of

from .conftest import ROOT
from .signing import LONG_AGO, LONG_AGO_SIGNED, PgpHome, PgpIdentity, SshIdentity, commit, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from driftwatch.git import Mirror

    from .conftest import Clock, MakeMirror, Upstream

MISSING = [name for name in ("gpg", "ssh-keygen") if not shutil.which(name)]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"these tests need {' and '.join(MISSING)} on PATH")

FILES: dict[str, str | bytes] = {"envs/prod/main.tf": ROOT}


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SshIdentity]:
    place = tmp_path_factory.mktemp("ssh")
    return {name: SshIdentity.make(place / name, f"{name}@example.com") for name in ("ada", "bob", "mallory")}


@pytest.fixture(scope="session")
def pgp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, PgpIdentity]]:
    home = PgpHome(tmp_path_factory.mktemp("pgp") / "home")
    yield {
        "ada": home.make("ada@example.com"),
        "mallory": home.make("mallory@example.com"),
        "expired": home.make("old@example.com", expires="1d", at=LONG_AGO, signs_at=LONG_AGO_SIGNED),
        "expired signature": home.make(
            "brief@example.com", at=LONG_AGO, signs_at=LONG_AGO_SIGNED, more="--default-sig-expire 1d"
        ),
        "revoked": home.make("gone@example.com"),
        "weak": home.make("weak@example.com", more="--digest-algo SHA1 --allow-weak-digest-algos"),
    }
    home.close()


@pytest.fixture
def clock(clock: Clock) -> Clock:
    """Signatures are made now."""
    clock.now = datetime.now(UTC)
    return clock


@pytest.fixture
def trusting(upstream: Upstream, make_mirror: MakeMirror) -> Callable[..., Mirror]:
    """Mirrors that ask for signatures: a second one of the same place is a restart."""

    def make(mode: str = "head", **signers: Any) -> Mirror:
        return make_mirror(upstream.url, signatures=mode, signers=SigningSettings(**signers))

    return make


def refused(mirror: Mirror) -> str:
    with pytest.raises(SignatureMissingError) as caught:
        mirror.fetch()
    assert caught.value.advice
    return caught.value.message


# ---- heads ---------------------------------------------------------------------------------------------


def test_a_head_that_an_allowed_ssh_key_has_signed_is_used(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    head = commit(upstream, ssh["ada"], FILES)
    mirror = trusting(ssh=(ssh["bob"].line(), ssh["ada"].line()))
    assert mirror.fetch().commit == head == mirror.head()
    assert mirror.fetch().changed is False
    with mirror.checkout(head) as path:
        assert (path / "envs/prod/main.tf").exists()


def test_a_head_that_an_allowed_pgp_key_has_signed_is_used(
    upstream: Upstream,
    trusting: Callable[..., Mirror],
    pgp: dict[str, PgpIdentity],
    ssh: dict[str, SshIdentity],
) -> None:
    """Beside SSH signers, of whom it has none."""
    head = commit(upstream, pgp["ada"], FILES)
    mirror = trusting(ssh=(ssh["ada"].line(),), pgp=(pgp["mallory"].public, pgp["ada"].public))
    assert mirror.fetch().commit == head == mirror.head()


def test_without_a_first_good_head_there_is_no_commit_at_all(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity], tmp_path: Path
) -> None:
    """The error says which commit, by whom, and why; nothing of it comes onto the disk."""
    head = upstream.commit({"envs/prod/main.tf": "# unsigned\n"})
    mirror = trusting(ssh=(ssh["ada"].line(),))
    assert refused(mirror) == f"the head of platform, {head[:10]} by Ann, is not used: it is not signed"
    assert mirror.head() is None
    assert mirror.is_merged(head) is False
    assert not (tmp_path / "state/platform/worktrees").exists()


def test_the_last_good_head_stays_in_use_until_there_is_another(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    """Also after a restart; and a signed merge vouches for the unsigned commits that it brings."""
    good = commit(upstream, ssh["ada"], FILES)
    mirror = trusting(ssh=(ssh["ada"].line(),))
    mirror.fetch()
    unsigned = commit(upstream, None, {"envs/prod/main.tf": "# unsigned\n"})
    assert f"{unsigned[:10]} by Ann, is not used: it is not signed" in refused(mirror)
    again = trusting(ssh=(ssh["ada"].line(),))
    assert again.head() == mirror.head() == good
    refused(again)
    assert again.head() == good
    later = commit(upstream, ssh["ada"], {"more.tf": "# signed\n"})
    fetched = again.fetch()
    assert (fetched.commit, fetched.previous, fetched.rewritten) == (later, good, False)


@pytest.mark.parametrize(
    ("by", "allowed", "why"),
    [
        ("mallory", {"ssh": ["ada"]}, "its SSH key SHA256:.* is not allowed"),
        ("ada", {"pgp": ["ada"]}, "it has an SSH signature, and `signers.ssh` names nobody"),
        ("ada", {"ssh": ["ada"], "revoked": ["ada"]}, "its SSH key SHA256:.* is revoked"),
        (
            "ada",
            {"ssh": ["ada"], "options": 'valid-before="20260102Z"'},
            r"the SSH key SHA256:.* of ada@example.com has expired \(2026-01-02 00:00\)",
        ),
        (
            "ada",
            {"ssh": ["ada"], "options": 'valid-after="29990102Z"'},
            "the SSH key .* of ada@example.com counts only from 2999-01-02 00:00 on",
        ),
    ],
)
def test_an_ssh_signature_that_does_not_count_says_why(
    upstream: Upstream,
    trusting: Callable[..., Mirror],
    ssh: dict[str, SshIdentity],
    pgp: dict[str, PgpIdentity],
    by: str,
    allowed: dict[str, Any],
    why: str,
) -> None:
    commit(upstream, ssh[by], FILES)
    mirror = trusting(
        ssh=tuple(ssh[name].line(allowed.get("options", "")) for name in allowed.get("ssh", ())),
        ssh_revoked=tuple(ssh[name].public for name in allowed.get("revoked", ())),
        pgp=tuple(pgp[name].public for name in allowed.get("pgp", ())),
    )
    with pytest.raises(SignatureMissingError, match=why):
        mirror.fetch()
    assert mirror.head() is None


def test_a_commit_that_is_dated_back_into_the_time_of_an_expired_key_does_not_count(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    """Git asks whether the key was good when the commit says that it was made; whoever stole it says so."""
    commit(upstream, ssh["ada"], FILES, dated="2026-01-01T00:00:00Z")
    assert "has expired" in refused(trusting(ssh=(ssh["ada"].line('valid-before="20260102Z"'),)))


def test_a_commit_that_is_dated_before_its_key_counted_does_not_count(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    commit(upstream, ssh["ada"], FILES, dated="2026-01-01T00:00:00Z")
    said = refused(trusting(ssh=(ssh["ada"].line('valid-after="20260202Z"'),)))
    assert "it is dated at a time for which the SSH key" in said


@pytest.mark.parametrize(
    ("by", "why"),
    [
        ("mallory", "its PGP key .* is not allowed, or not known"),
        ("expired", "its PGP key .* has expired"),
        ("expired signature", "its PGP signature has expired"),
        ("revoked", "its PGP key .* is revoked"),
    ],
)
def test_a_pgp_signature_that_does_not_count_says_why(
    upstream: Upstream, trusting: Callable[..., Mirror], pgp: dict[str, PgpIdentity], by: str, why: str
) -> None:
    commit(upstream, pgp[by], FILES)
    if by == "revoked":
        home = PgpHome.__new__(PgpHome)
        home.directory = pgp[by].home
        home.revoke(pgp[by])
    allowed = [identity.public for name, identity in pgp.items() if name != "mallory"]
    mirror = trusting(pgp=tuple(allowed))
    with pytest.raises(SignatureMissingError, match=why):
        mirror.fetch()
    assert mirror.head() is None


def test_a_digest_that_can_be_forged_does_not_count(
    upstream: Upstream, trusting: Callable[..., Mirror], pgp: dict[str, PgpIdentity]
) -> None:
    commit(upstream, pgp["weak"], FILES)
    with pytest.raises(
        SignatureMissingError, match=r"digest that can be forged|cannot be read as a good one"
    ):
        trusting(pgp=(pgp["weak"].public,)).fetch()


@pytest.mark.parametrize("kind", ["ssh", "pgp"])
def test_a_signature_that_belongs_to_another_commit_does_not_count(
    upstream: Upstream,
    trusting: Callable[..., Mirror],
    ssh: dict[str, SshIdentity],
    pgp: dict[str, PgpIdentity],
    kind: str,
) -> None:
    """Taken from a commit of somebody who may sign, and put onto one of somebody who may not."""
    signer: SshIdentity | PgpIdentity = ssh["ada"] if kind == "ssh" else pgp["ada"]
    signed = commit(upstream, signer, FILES)
    forged = upstream.git("cat-file", "commit", signed).replace("\n\nsigned", "\n\nforged") + "\n"
    made = upstream.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=forged.encode())
    upstream.git("update-ref", "refs/heads/main", made)
    mirror = trusting(ssh=(ssh["ada"].line(),), pgp=(pgp["ada"].public,))
    assert "does not fit what it says" in refused(mirror)


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (
            "-----BEGIN SIGNED MESSAGE-----\n AAAA\n -----END SIGNED MESSAGE-----",
            "a kind that is not looked at",
        ),
        (
            "-----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----",
            "its SSH key of no known form",
        ),
        ("-----BEGIN SSH SIGNATURE-----\n !!\n -----END SSH SIGNATURE-----", "its SSH key of no known form"),
        ("-----BEGIN SSH SIGNATURE-----", "its SSH key of no known form"),
        (
            "-----BEGIN PGP SIGNATURE-----\n \n AAAA\n -----END PGP SIGNATURE-----",
            "cannot be read as a good one",
        ),
        ("-----BEGIN PGP MESSAGE-----\n \n AAAA\n -----END PGP MESSAGE-----", "cannot be read as a good one"),
        ("nonsense", "it is not signed"),
    ],
)
def test_what_only_looks_like_a_signature_does_not_count(
    upstream: Upstream,
    trusting: Callable[..., Mirror],
    ssh: dict[str, SshIdentity],
    pgp: dict[str, PgpIdentity],
    block: str,
    why: str,
) -> None:
    raw = upstream.git("cat-file", "commit", "HEAD").replace("\n\n", f"\ngpgsig {block}\n\n", 1) + "\n"
    made = upstream.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=raw.encode())
    upstream.git("update-ref", "refs/heads/main", made)
    mirror = trusting(ssh=(ssh["ada"].line(),), pgp=(pgp["ada"].public,))
    assert why in refused(mirror)


def test_a_message_that_says_what_gpg_would_say_does_not_count(
    upstream: Upstream,
    trusting: Callable[..., Mirror],
    ssh: dict[str, SshIdentity],
    pgp: dict[str, PgpIdentity],
) -> None:
    """Nor an author, a file or a signature of somebody else with it."""
    lines = (
        "[GNUPG:] GOODSIG AAAA ada\n"
        f"[GNUPG:] VALIDSIG {pgp['ada'].key} 2026-01-01 1 0 4 0 22 8 00 {pgp['ada'].key}\n"
        f'Good "git" signature for ada@example.com with ED25519 key SHA256:AAAA\n'
    )
    upstream.git(
        *(*pgp["mallory"].settings(), "commit", "--quiet", "--allow-empty", "-S", "-m", lines),
        GIT_AUTHOR_NAME="ada\x1b[2J\u202e",
    )
    said = refused(trusting(ssh=(ssh["ada"].line(),), pgp=(pgp["ada"].public,)))
    assert "is not allowed, or not known" in said
    assert "\x1b" not in said


@settings(max_examples=200, deadline=None)
@given(
    parts=st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from([b"\n", b"\n\n", b"gpgsig ", b"-----BEGIN SSH SIGNATURE-----", b"U1NIU0lHAAAA"]),
            st.sampled_from([b"-----END SSH SIGNATURE-----", b"-----BEGIN PGP SIGNATURE-----", b"tree 1"]),
        ),
        max_size=12,
    )
)
def test_any_object_is_read_without_an_error(parts: list[bytes]) -> None:
    """Whoever may push chooses every byte of it."""
    content = b"".join(parts)
    for of in ("commit", "tag"):
        kind = signature_of(content, of=of)
        assert kind is None or b"-----BEGIN " + kind.encode() + b"-----" in content
        key = trust._key_of(content, of)
        assert key is None or key.startswith("SHA256:")


def test_a_message_may_quote_a_signature(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    """In a commit and in a tag: what counts is where git looks for it."""
    quoted = upstream.git("cat-file", "commit", commit(upstream, ssh["mallory"], FILES)).replace("\n ", "\n")
    upstream.git(
        *ssh["ada"].settings(), "commit", "--quiet", "--allow-empty", "-S", "-m", f"See:\n\n{quoted}"
    )
    upstream.git(*ssh["ada"].settings(), "tag", "-s", "-m", f"See:\n\n{quoted}", "v1")
    for mode in ("head", "tags"):
        assert trusting(mode, ssh=(ssh["ada"].line(),)).fetch().commit == upstream.head()


def test_a_signed_commit_of_the_past_is_not_brought_back(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    """Whoever may force the branch need not be able to sign: old signatures are there for all to use."""
    old = commit(upstream, ssh["ada"], FILES)
    good = commit(upstream, ssh["ada"], {"more.tf": "# more\n"})
    mirror = trusting(ssh=(ssh["ada"].line(),))
    mirror.fetch()
    upstream.git("reset", "--quiet", "--hard", old)
    for each in (mirror, trusting(ssh=(ssh["ada"].line(),))):
        with pytest.raises(HeadRewoundError, match=f"{old[:10]} by Ann, is not used") as caught:
            each.fetch()
        assert "git revert" in (caught.value.advice or "")
        assert each.head() == good
    upstream.git("reset", "--quiet", "--hard", good)
    assert mirror.fetch().changed is False


def test_a_rewritten_branch_with_a_new_signed_head_is_followed(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    first = commit(upstream, ssh["ada"], FILES)
    commit(upstream, ssh["ada"], {"more.tf": "# more\n"})
    mirror = trusting(ssh=(ssh["ada"].line(),))
    mirror.fetch()
    upstream.git("reset", "--quiet", "--hard", first)
    other = commit(upstream, ssh["ada"], {"other.tf": "# other\n"})
    fetched = mirror.fetch()
    assert (fetched.commit, fetched.rewritten) == (other, True)


# ---- keys that change ----------------------------------------------------------------------------------


def test_keys_that_are_other_now_are_asked_anew(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    """What a key that is allowed no more had signed is used no more; whoever adds one loses nothing."""
    good = commit(upstream, ssh["ada"], FILES)
    trusting(ssh=(ssh["ada"].line(),)).fetch()
    commit(upstream, None, {"more.tf": "# unsigned\n"})
    more = trusting(ssh=(ssh["ada"].line(), ssh["bob"].line()))
    assert more.head() is None
    refused(more)
    assert more.head() == good
    other = trusting(ssh=(ssh["bob"].line(),))
    refused(other)
    assert other.head() is None


def test_a_key_that_is_added_loses_nothing_while_the_remote_is_away(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity], tmp_path: Path
) -> None:
    good = commit(upstream, ssh["ada"], FILES)
    trusting(ssh=(ssh["ada"].line(),)).fetch()
    upstream.path.rename(tmp_path / "away")
    mirror = trusting(ssh=(ssh["ada"].line(), ssh["bob"].line()))
    with pytest.raises(RemoteRefusedError):
        mirror.fetch()
    assert mirror.head() == good


def test_a_repository_that_asks_from_now_on_forgets_what_was_good_without(
    upstream: Upstream, make_mirror: MakeMirror, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    unsigned = upstream.head()
    assert make_mirror(upstream.url).fetch().commit == unsigned
    mirror = trusting(ssh=(ssh["ada"].line(),))
    assert mirror.head() is None
    refused(mirror)
    assert mirror.head() is None
    assert make_mirror(upstream.url).head() == unsigned


def test_a_head_stays_good_when_its_key_expires(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity], clock: Clock
) -> None:
    """It was good when it came. The next one is not."""
    allowed = (ssh["ada"].line('valid-before="29990101Z"'),)
    good = commit(upstream, ssh["ada"], FILES)
    trusting(ssh=allowed).fetch()
    clock.now = datetime(2999, 1, 2, tzinfo=UTC)
    mirror = trusting(ssh=allowed)
    assert mirror.fetch().commit == good
    commit(upstream, ssh["ada"], {"more.tf": "# later\n"})
    assert "has expired" in refused(mirror)
    assert mirror.head() == good


def test_a_damaged_mirror_knows_its_good_head_again(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity], tmp_path: Path
) -> None:
    good = commit(upstream, ssh["ada"], FILES)
    mirror = trusting(ssh=(ssh["ada"].line(),))
    mirror.fetch()
    commit(upstream, None, {"more.tf": "# unsigned\n"})
    (tmp_path / "state/platform/mirror.git/HEAD").write_text("broken")
    with pytest.raises(SignatureMissingError):
        mirror.fetch()
    assert mirror.head() == good


@pytest.mark.parametrize(
    "content", [b"", b"no key at all\n", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n"]
)
def test_a_file_without_a_key_is_told_and_changes_nothing(
    upstream: Upstream,
    trusting: Callable[..., Mirror],
    pgp: dict[str, PgpIdentity],
    tmp_path: Path,
    content: bytes,
) -> None:
    file = tmp_path / "keys.asc"
    file.write_bytes(pgp["ada"].public.read_bytes())
    good = commit(upstream, pgp["ada"], FILES)
    mirror = trusting(pgp=(file,))
    mirror.fetch()
    file.unlink()
    with pytest.raises(SignersUnusableError, match=r"keys\.asc with PGP keys of platform cannot be read"):
        mirror.fetch()
    assert mirror.head() == good
    file.write_bytes(content)
    commit(upstream, pgp["ada"], {"more.tf": "# later\n"})
    with pytest.raises(SignersUnusableError, match="holds no public PGP key"):
        mirror.fetch()


@pytest.mark.parametrize(("program", "package"), [("ssh-keygen", "openssh-client"), ("gpg", "gnupg")])
def test_a_machine_without_the_program_says_so(
    upstream: Upstream,
    trusting: Callable[..., Mirror],
    ssh: dict[str, SshIdentity],
    pgp: dict[str, PgpIdentity],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    program: str,
    package: str,
) -> None:
    signer: SshIdentity | PgpIdentity = ssh["ada"] if program == "ssh-keygen" else pgp["ada"]
    commit(upstream, signer, FILES)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("git", "env", "sh"):
        (tools / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(tools))
    mirror = trusting(ssh=(ssh["ada"].line(),), **({"pgp": (pgp["ada"].public,)} if program == "gpg" else {}))
    with pytest.raises(SignersUnusableError, match=f"there is no {program} on this machine") as caught:
        mirror.fetch()
    assert package in str(caught.value.advice)
    assert mirror.head() is None


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("ssh-keygen", "ada@example.com"),
        ("ssh-keygen", 'Good "git" signature for ada@example.com with ED25519 key SHA256:AAAA'),
        ("ssh-keygen", 'Good "git" signature for ada@example.com with ED25519 key {mallory}'),
        ("gpg", ""),
        ("gpg", "[GNUPG:] GOODSIG AAAA ada"),
        ("gpg", "[GNUPG:] GOODSIG AAAA ada\n[GNUPG:] VALIDSIG {key} 2026-01-01 1 0 4 0 22 8 00 {other}"),
        ("gpg", "[GNUPG:] GOODSIG A a\n[GNUPG:] VALIDSIG {key} 2026-01-01 1 0 4 0 22 2 00 {key}"),
        (
            "gpg",
            "[GNUPG:] GOODSIG A a\n[GNUPG:] GOODSIG B b\n[GNUPG:] VALIDSIG {key} 1 1 0 4 0 22 8 00 {key}",
        ),
        ("gpg", "[GNUPG:] BADSIG A a\n[GNUPG:] GOODSIG A a\n[GNUPG:] VALIDSIG {key} 1 1 0 4 0 22 8 00 {key}"),
    ],
)
def test_an_exit_code_is_not_trusted(
    upstream: Upstream,
    trusting: Callable[..., Mirror],
    ssh: dict[str, SshIdentity],
    pgp: dict[str, PgpIdentity],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    program: str,
    says: str,
) -> None:
    """A program that ends well and does not say just what it should has vouched for nobody."""
    by = "mallory" if "{mallory}" in says else "ada"
    commit(upstream, ssh[by] if program == "ssh-keygen" else pgp[by], FILES)
    said = tmp_path / "said"
    mallory = key_fingerprint(ssh["mallory"].public)
    said.write_text(says.format(key=pgp["ada"].key, other=pgp["mallory"].key, mallory=mallory) + "\n")
    tool = tmp_path / "tools" / program
    tool.parent.mkdir()
    tool.write_text(
        "#!/bin/sh\n"
        f'case " $* " in *" --import "*|*" --list-keys "*) exec "{shutil.which(program)}" "$@";; esac\n'
        f'cat "{said}"\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    mirror = trusting(ssh=(ssh["ada"].line(),), pgp=(pgp["ada"].public,))
    with pytest.raises(SignatureMissingError, match="is not used"):
        mirror.fetch()
    assert mirror.head() is None


def test_only_the_allowed_keys_are_asked(
    upstream: Upstream,
    trusting: Callable[..., Mirror],
    pgp: dict[str, PgpIdentity],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Whoever runs driftwatch may have others in a keyring; and no agent is started for ours."""
    monkeypatch.setenv("GNUPGHOME", str(pgp["mallory"].home))
    commit(upstream, pgp["mallory"], FILES)
    assert "is not allowed, or not known" in refused(trusting(pgp=(pgp["ada"].public,)))
    assert list((tmp_path / "state").rglob("S.*")) == []


def test_a_subkey_signs_for_its_primary_key(
    upstream: Upstream,
    trusting: Callable[..., Mirror],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = PgpHome(tmp_path_factory.mktemp("subkey") / "home")
    try:
        identity = home.make("sub@example.com")
        home.gpg("--quick-add-key", identity.key, "ed25519", "sign", "0")
        home.export(identity.key)
        head = commit(upstream, identity, FILES)
        assert trusting(pgp=(identity.public,)).fetch().commit == head
    finally:
        home.close()


# ---- tags ----------------------------------------------------------------------------------------------


def test_with_tags_the_newest_signed_one_of_the_branch_is_the_head(
    upstream: Upstream,
    trusting: Callable[..., Mirror],
    ssh: dict[str, SshIdentity],
    pgp: dict[str, PgpIdentity],
) -> None:
    """What is on the branch since waits for its tag, and no unsigned tag is asked for."""
    first = commit(upstream, None, FILES)
    tag(upstream, ssh["ada"], "v1")
    commit(upstream, None, {"more.tf": "# waits\n"})
    tag(upstream, None, "nightly")
    upstream.git("tag", "light")
    mirror = trusting("tags", ssh=(ssh["ada"].line(),), pgp=(pgp["ada"].public,))
    assert mirror.fetch().commit == first == mirror.head()
    second = commit(upstream, None, {"more.tf": "# released\n"})
    commit(upstream, None, {"even-more.tf": "# waits\n"})
    tag(upstream, pgp["ada"], "releases/v2", second)
    fetched = mirror.fetch()
    assert (fetched.commit, fetched.previous) == (second, first)
    assert mirror.fetch().changed is False


def test_with_tags_the_order_is_the_branchs_and_not_that_of_dates(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    commit(upstream, None, FILES, dated="2030-01-01T00:00:00Z")
    tag(upstream, ssh["ada"], "v1")
    second = commit(upstream, None, {"more.tf": "# more\n"}, dated="2001-01-01T00:00:00Z")
    tag(upstream, ssh["ada"], "v2")
    assert trusting("tags", ssh=(ssh["ada"].line(),)).fetch().commit == second


def test_with_tags_one_that_does_not_count_is_told_and_passed_over(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    first = commit(upstream, None, FILES)
    tag(upstream, ssh["ada"], "v1")
    bad = commit(upstream, None, {"more.tf": "# more\n"})
    tag(upstream, ssh["mallory"], "v2")
    mirror = trusting("tags", ssh=(ssh["ada"].line(),))
    said = refused(mirror)
    assert said.startswith(f"the tag v2 of platform at {bad[:10]} by Ann is not used: its SSH key SHA256:")
    assert mirror.head() == first
    refused(mirror)
    third = commit(upstream, None, {"more.tf": "# released\n"})
    tag(upstream, ssh["ada"], "v3")
    assert mirror.fetch().commit == third


def test_with_tags_one_good_one_of_a_commit_is_enough(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    head = commit(upstream, None, FILES)
    for number in range(3):
        tag(upstream, ssh["mallory"], f"a{number}")
    tag(upstream, ssh["ada"], "b")
    for number in range(3):
        tag(upstream, ssh["mallory"], f"c{number}")
    mirror = trusting("tags", ssh=(ssh["ada"].line(),))
    assert mirror.fetch().commit == head
    assert mirror.fetch().changed is False


def test_with_tags_a_signed_one_elsewhere_does_not_count(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    """On another branch; of a tree; of a tag."""
    upstream.git("checkout", "--quiet", "-b", "topic")
    commit(upstream, ssh["ada"], {"topic.tf": "# topic\n"})
    tag(upstream, ssh["ada"], "v1")
    upstream.git("checkout", "--quiet", "main")
    tag(upstream, ssh["ada"], "tree", "HEAD^{tree}")
    tag(upstream, None, "plain")
    tag(upstream, ssh["ada"], "tag", "plain")
    mirror = trusting("tags", ssh=(ssh["ada"].line(),))
    assert refused(mirror) == "no commit of the branch main of platform has a tag with a valid signature"
    assert mirror.head() is None


def test_with_tags_a_withdrawn_one_brings_nothing_back(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    """Nor does one that is signed for an older commit later."""
    commit(upstream, None, FILES)
    tag(upstream, ssh["ada"], "v1")
    second = commit(upstream, None, {"more.tf": "# more\n"})
    tag(upstream, ssh["ada"], "v2")
    mirror = trusting("tags", ssh=(ssh["ada"].line(),))
    mirror.fetch()
    upstream.git("tag", "-d", "v2")
    tag(upstream, ssh["ada"], "v1-again", "HEAD^")
    assert mirror.fetch().commit == second
    assert mirror.head() == second


def test_with_tags_a_withdrawn_one_makes_nothing_good_any_more(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    """Where what was good is judged anew, only what the remote has now counts."""
    first = commit(upstream, None, FILES)
    tag(upstream, ssh["ada"], "v1")
    commit(upstream, None, {"more.tf": "# more\n"})
    tag(upstream, ssh["ada"], "v2")
    trusting("tags", ssh=(ssh["ada"].line(),)).fetch()
    upstream.git("tag", "-d", "v2")
    assert trusting("tags", ssh=(ssh["ada"].line(), ssh["bob"].line())).fetch().commit == first


def test_with_tags_a_branch_that_was_rewritten_is_followed(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    """To the newest signed tag that is on it; without one, what was good last stays."""
    first = commit(upstream, None, FILES)
    second = commit(upstream, None, {"more.tf": "# more\n"})
    tag(upstream, ssh["ada"], "v2")
    mirror = trusting("tags", ssh=(ssh["ada"].line(),))
    mirror.fetch()
    upstream.git("reset", "--quiet", "--hard", first)
    commit(upstream, None, {"other.tf": "# other\n"})
    refused(mirror)
    assert mirror.head() == second
    tag(upstream, ssh["ada"], "v1", first)
    fetched = mirror.fetch()
    assert (fetched.commit, fetched.previous, fetched.rewritten) == (first, second, True)


def test_a_signed_head_is_not_a_signed_tag(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    commit(upstream, ssh["ada"], FILES)
    trusting(ssh=(ssh["ada"].line(),)).fetch()
    mirror = trusting("tags", ssh=(ssh["ada"].line(),))
    assert mirror.head() is None
    refused(mirror)


def test_many_tags_cost_few_looks(
    upstream: Upstream,
    trusting: Callable[..., Mirror],
    ssh: dict[str, SshIdentity],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unsigned ones are read all at once, and only so many that are signed are verified."""
    monkeypatch.setattr("driftwatch.git.tags._MOST_VERIFIED", 2)
    good = commit(upstream, None, FILES)
    tag(upstream, ssh["ada"], "good")
    commit(upstream, None, {"more.tf": "# more\n"})
    for number in range(5):
        tag(upstream, None, f"nightly-{number}")
    mirror = trusting("tags", ssh=(ssh["ada"].line(),))
    assert mirror.fetch().commit == good
    for number in range(3):
        tag(upstream, ssh["mallory"], f"bad-{number}")
    other = trusting("tags", ssh=(ssh["ada"].line(), ssh["bob"].line()))
    refused(other)
    assert other.head() is None


@pytest.mark.parametrize("is_known", [True, False])
def test_with_tags_a_merge_of_an_old_release_brings_nothing_back(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity], is_known: bool
) -> None:
    """A signed tag of another line is older than what was in use, or is signed on the branch's own line."""
    first = commit(upstream, None, FILES)
    upstream.git("checkout", "--quiet", "-b", "release")
    commit(upstream, None, {"old.tf": "# old\n"})
    tag(upstream, ssh["ada"], "v1.1")
    upstream.git("checkout", "--quiet", "main")
    newer = commit(upstream, None, {"more.tf": "# more\n"})
    tag(upstream, ssh["ada"], "v2", newer)
    mirror = trusting("tags", ssh=(ssh["ada"].line(),))
    if is_known:
        assert mirror.fetch().commit == newer
    upstream.git("merge", "--quiet", "--no-ff", "-s", "ours", "-m", "keep the history", "release")
    upstream.git("branch", "-d", "release")
    assert mirror.fetch().commit == newer == mirror.head()
    upstream.git("checkout", "--quiet", "-b", "topic", first)
    commit(upstream, None, {"topic.tf": "# topic\n"})
    tag(upstream, ssh["ada"], "v1.2")
    upstream.git("checkout", "--quiet", "main")
    upstream.git("merge", "--quiet", "--no-ff", "-m", "a topic", "topic")
    assert mirror.fetch().commit == newer
    tag(upstream, ssh["ada"], "v3", "main")
    assert mirror.fetch().commit == upstream.head("main")


def test_with_tags_a_commit_that_was_merged_counts_where_it_comes_after_the_last(
    upstream: Upstream, trusting: Callable[..., Mirror], ssh: dict[str, SshIdentity]
) -> None:
    commit(upstream, None, FILES)
    tag(upstream, ssh["ada"], "v1")
    upstream.git("checkout", "--quiet", "-b", "topic")
    merged = commit(upstream, None, {"topic.tf": "# topic\n"})
    tag(upstream, ssh["ada"], "v2")
    upstream.git("checkout", "--quiet", "main")
    upstream.git("merge", "--quiet", "--no-ff", "-m", "a topic", "topic")
    assert trusting("tags", ssh=(ssh["ada"].line(),)).fetch().commit == merged


def test_with_tags_the_dates_of_others_hide_none(
    upstream: Upstream,
    trusting: Callable[..., Mirror],
    ssh: dict[str, SshIdentity],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever may push tags may date them: the history counts, and what is unsigned counts nothing."""
    monkeypatch.setattr("driftwatch.git.tags._MOST_VERIFIED", 1)
    monkeypatch.setattr("driftwatch.git.tags._LARGEST_BATCH", 400)
    commit(upstream, None, FILES)
    for number in range(8):
        upstream.git(
            *("tag", "-a", "--no-sign", "-m", "junk", f"junk-{number}"),
            GIT_COMMITTER_DATE="2090-01-01T00:00:00Z",
        )
    second = commit(upstream, None, {"more.tf": "# more\n"})
    tag(upstream, ssh["ada"], "v1")
    assert trusting("tags", ssh=(ssh["ada"].line(),)).fetch().commit == second


@pytest.mark.parametrize(("bound", "most"), [("_MOST_VERIFIED", 2), ("_MOST_READ", 700), ("_MOST_TAGS", 2)])
def test_with_tags_it_is_said_where_not_all_were_looked_at(
    upstream: Upstream,
    trusting: Callable[..., Mirror],
    ssh: dict[str, SshIdentity],
    monkeypatch: pytest.MonkeyPatch,
    bound: str,
    most: int,
) -> None:
    """What is in use stays, and what is behind the junk does not look as though it was not there."""
    first = commit(upstream, None, FILES)
    tag(upstream, ssh["ada"], "v1")
    mirror = trusting("tags", ssh=(ssh["ada"].line(),))
    mirror.fetch()
    commit(upstream, None, {"more.tf": "# more\n"})
    for number in range(3):
        tag(upstream, ssh["mallory"], f"a-{number}")
    tag(upstream, ssh["ada"], "v2")
    monkeypatch.setattr(f"driftwatch.git.tags.{bound}", most)
    monkeypatch.setattr("driftwatch.git.tags._LARGEST_BATCH", 400)
    assert refused(mirror).endswith(
        "platform has more tags than are looked at: a good one may be among the others"
    )
    assert mirror.head() == first


def test_with_tags_one_that_is_too_large_is_told_and_never_read(
    upstream: Upstream,
    trusting: Callable[..., Mirror],
    ssh: dict[str, SshIdentity],
    tmp_path: Path,
) -> None:
    commit(upstream, None, FILES)
    tag(upstream, ssh["ada"], "v1")
    first = upstream.head()
    second = commit(upstream, None, {"more.tf": "# more\n"})
    message = tmp_path / "message"
    message.write_text("x" * (2 << 20))
    upstream.git(*ssh["ada"].settings(), "tag", "-s", "-F", str(message), "large")
    mirror = trusting("tags", ssh=(ssh["ada"].line(),))
    assert (
        refused(mirror)
        == f"the tag large of platform at {second[:10]} by Ann is not used: it is larger than 1 MB"
    )
    assert mirror.head() == first


def test_what_is_kept_of_keys_is_readable_by_nobody_else(
    upstream: Upstream, trusting: Callable[..., Mirror], pgp: dict[str, PgpIdentity], tmp_path: Path
) -> None:
    commit(upstream, pgp["ada"], FILES)
    trusting(pgp=(pgp["ada"].public,)).fetch()
    (home,) = (tmp_path / "state/platform/signers").glob("*/gnupg")
    assert home.stat().st_mode & 0o077 == 0
    listed = subprocess.run(
        ["gpg", "--homedir", home, "--no-autostart", "--with-colons", "--list-keys"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert [line for line in listed.splitlines() if line.startswith("pub:")] != []
    assert "mallory" not in listed
