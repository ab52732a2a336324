"""Whose signatures count: what is no signer is found out when the configuration is read."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.config.signing import key_fingerprint, ssh_signer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from driftwatch.config.loading import Loaded

BLOB = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(range(32))
KEY = f"ssh-ed25519 {base64.b64encode(BLOB).decode()}"
BASE = "repositories:\n  p:\n    url: /srv/p.git\n"


def test_a_line_says_whose_key_it_is_and_from_when_until_when() -> None:
    signer = ssh_signer(
        f'ada@example.com,*@ops.example.com namespaces="git,file",valid-after="20260101Z",'
        f'valid-before="20270203040506Z" {KEY} ada@laptop'
    )
    assert signer.principals == "ada@example.com,*@ops.example.com"
    assert signer.key == key_fingerprint(KEY)
    assert signer.valid_after == datetime(2026, 1, 1, tzinfo=UTC)
    assert signer.valid_before == datetime(2027, 2, 3, 4, 5, 6, tzinfo=UTC)


def test_a_time_without_a_zone_is_this_machines() -> None:
    """As ssh-keygen has it."""
    signer = ssh_signer(f'a@b valid-before="202701020304" {KEY}')
    assert signer.valid_before == datetime(2027, 1, 2, 3, 4).astimezone()
    assert signer.valid_after is None


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="there is no ssh-keygen on PATH")
def test_the_fingerprint_is_the_one_that_ssh_keygen_shows(tmp_path: Path) -> None:
    for kind in ("ed25519", "ecdsa"):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", tmp_path / kind], check=True)
        public = tmp_path / f"{kind}.pub"
        shown = subprocess.run(
            ["ssh-keygen", "-l", "-f", public], env=os.environ, check=True, capture_output=True, text=True
        ).stdout
        assert key_fingerprint(public.read_text()) in shown.split()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "must not be empty"),
        (KEY, "must begin with whose key it is"),
        (f"#ada@example.com {KEY}", "must begin with whose key it is"),
        (f'"ada lovelace" {KEY}', "must begin with whose key it is"),
        ("ada@example.com", "holds no public key"),
        ("ada@example.com ssh-ed25519", "holds no public key"),
        ("ada@example.com ssh-ed25519 AAAA", "holds no public key"),
        (f"ada@example.com ssh-rsa {KEY.split()[1]}", "holds no public key"),
        (f"ada@example.com ssh-ed25519 {KEY.split()[1][:-3]}!!!", "holds no public key"),
        (f"ada@example.com cert-authority {KEY}", "has options other than"),
        (f"ada@example.com valid-before=20270101 {KEY}", "has options other than"),
        (f'ada@example.com valid-before="2027-01-01" {KEY}', "YYYYMMDD"),
        (f'ada@example.com valid-before="20270230" {KEY}', "no calendar has"),
        (f'ada@example.com namespaces="file" {KEY}', "could sign no commit"),
        (f"ada@example.com {KEY}\nmallory@example.com {KEY}", "invisible characters"),
    ],
)
def test_what_would_be_passed_over_is_refused(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ssh_signer(line)


@settings(max_examples=150, deadline=None)
@given(
    line=st.one_of(
        st.text(max_size=80), st.from_regex(r"\A[a-z@.]{1,9} [a-z\-=\",0-9]{0,30} ?ssh-ed25519 \S+\Z")
    )
)
def test_any_other_text_is_a_signer_or_is_refused(line: str) -> None:
    """Never another error; and what is taken can be written to ssh-keygen's file as one line."""
    try:
        signer = ssh_signer(line)
    except ValueError:
        return
    assert len(signer.line.splitlines()) == 1
    assert signer.key.startswith("SHA256:")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("    signatures: head\n", "signatures: needs `signers`: without any, no commit could ever be used"),
        ("    signatures: tags\n    signers: {ssh: [], pgp: []}\n", "signatures: needs `signers`"),
        (f'    signers: {{ssh: ["{KEY}"]}}\n', "signers.ssh[0]: must begin with whose key it is"),
        ("    signers: {ssh_revoked: [nobody]}\n", "signers.ssh_revoked[0]: holds no public key"),
        ('    signers: {pgp: [""]}\n', "signers.pgp[0]: must be a path"),
        ("    signatures: commits\n", "signatures: must be one of"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_refused(
    refuses: Callable[..., list[str]], text: str, says: str
) -> None:
    (problem,) = refuses(BASE + text)
    assert says in problem


def test_key_files_lie_relative_to_the_configuration(accepts: Callable[..., Loaded]) -> None:
    text = BASE + f'    signatures: head\n    signers: {{ssh: ["a@b {KEY}"], pgp: [keys/ada.asc]}}\n'
    settings = accepts(text).settings
    platform = settings.repositories["p"]
    assert platform.signatures == "head"
    assert platform.signers.ssh == (f"a@b {KEY}",)
    assert [path.is_absolute() and path.name for path in platform.signers.pgp] == ["ada.asc"]
