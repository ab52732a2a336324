"""What terraform and its providers find in their environment, and the CLI configuration that they go by.

A daemon's plan starts from nothing: PATH, a HOME and TMPDIR of its own, what `terraform.inherit_environment`
names, and what its stack is given. Anything more could be read by the code that is planned (`file` on
/proc/self/environ, a `credential_process`), and a stray TF_CLI_ARGS_plan=-destroy would be obeyed.

A person's plan (`check DIR`) has the person's environment, as terraform itself would; left out is what would
make it another plan than the one that driftwatch means, or noise.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from typing import TYPE_CHECKING

from driftwatch.log import register_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from driftwatch.model import JsonValue

_FIXED = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}

_OURS = re.compile(
    r"TF_(?:CLI_ARGS(?:_\w+)?|REATTACH_PROVIDERS|DATA_DIR|WORKSPACE|CLI_CONFIG_FILE|PLUGIN_CACHE_\w+|INPUT)"
    r"|TERRAFORM_CONFIG|TMPDIR"
)
_ARGUMENTS = re.compile(r"TF_CLI_ARGS(?:_(?P<command>\w+))?")
_LOGGING = ("TF_LOG", "TF_LOG_CORE", "TF_LOG_PROVIDER")
_INPUTS = {"plan": ("var", "var-file"), "init": ("backend-config",)}
"""Options of TF_CLI_ARGS_<command> that say what is planned; all others say how, which is ours to say."""

_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASS|CREDENTIAL|PRIVATE|AUTH|KEY", re.IGNORECASE)
_PLAIN_NAME = re.compile(
    r"\w*(?:REGION|LOCATION|ZONE|PROFILE|ENDPOINT|ENDPOINT_URL\w*|ACCOUNT_ID|PROJECT|ENVIRONMENT)",
    re.IGNORECASE,
)
"""Of what a stack is given, names whose values belong into messages; all else is taken for a secret."""

_PLAIN_BACKEND_KEY = re.compile(
    r"bucket|key|region|profile|prefix|path|workspace_\w+|dynamodb_table|encrypt|use_\w+|skip_\w+|\w*_name|address"
    r"|\w+_address|\w*_method|endpoints?|hostname|organization|namespace"
)


def for_daemon(
    own: Mapping[str, str],
    inherit: Sequence[str],
    stack: Mapping[str, str],
    *,
    home: Path,
    tmp: Path,
    cli: Path,
) -> dict[str, str]:
    """The environment of a daemon's plan. `own` is the daemon's, `stack` the stack's `environment`."""
    return {
        "HOME": str(home),
        **of_stack(own, inherit, stack),
        "TMPDIR": str(tmp),
        "TF_CLI_CONFIG_FILE": str(cli),
    }


def of_stack(own: Mapping[str, str], inherit: Sequence[str], stack: Mapping[str, str]) -> dict[str, str]:
    """Of a daemon's plan what is the same in each of a stack's plans; HOME only where somebody gave one."""
    inherited = {name: own[name] for name in inherit if name in own}
    given = {name: value for name, value in {**inherited, **stack}.items() if not _OURS.fullmatch(name)}
    _register(given, lambda name: _SECRET_NAME.search(name) or not _PLAIN_NAME.fullmatch(name))
    return {"PATH": own.get("PATH", os.defpath), "LANG": "C.UTF-8", **given, **_FIXED}


def for_person(own: Mapping[str, str], stack: Mapping[str, str]) -> dict[str, str]:
    """The environment of a person's plan."""
    kept = dict(_kept({**own, **stack}))
    _register(kept, _SECRET_NAME.search)
    return {**kept, **_FIXED}


def _kept(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in environment.items():
        if match := _ARGUMENTS.fullmatch(name):
            if inputs := _input_options(match["command"], value):
                yield name, inputs
        elif name not in _LOGGING or "TF_LOG_PATH" in environment:
            yield name, value


def _input_options(command: str | None, value: str) -> str:
    """Of a TF_CLI_ARGS_<command> those options that say what is planned, or ""."""
    try:
        words = iter(shlex.split(value))
    except ValueError:
        return ""
    kept = []
    for word in words:
        name, equals, _ = word.lstrip("-").partition("=")
        if word.startswith("-") and name in _INPUTS.get(command or "", ()):
            kept += [word] if equals else [word, *_next(words)]
    return shlex.join(kept)


def _next(words: Iterator[str]) -> Iterable[str]:
    following = next(words, None)
    return () if following is None else (following,)


def _register(values: Mapping[str, str], is_secret: Callable[[str], object]) -> None:
    for name, value in values.items():
        if is_secret(name) and not os.path.exists(value):  # noqa: PTH110  (a value need not be a path at all)
            register_secret(value)


def register_inputs(backend_config: Mapping[str, str], variables: Mapping[str, JsonValue]) -> None:
    """Makes unprintable what a backend is given, but for names of buckets and such, and secret variables."""
    _register(backend_config, lambda name: not _PLAIN_BACKEND_KEY.fullmatch(name))
    texts = {name: value for name, value in variables.items() if isinstance(value, str)}
    _register(texts, _SECRET_NAME.search)


def cli_configuration(mirrors: Sequence[str]) -> str:
    """A daemon's CLI configuration: providers come from `mirrors` alone, or with none from their registries.

    Every way of installation is written down, as what is not would be implied: without this block terraform
    takes providers from terraform.d/plugins beside the code. A registry beside mirrors would be asked for
    each provider's versions even when a mirror has it, and be needed for that; who wants it writes their own
    file (`terraform.cli_config`).
    """
    methods = "".join(map(_method, mirrors)) or "  direct {}\n"
    return f"disable_checkpoint = true\nprovider_installation {{\n{methods}}}\n"


def _method(mirror: str) -> str:
    if "://" in mirror:
        return f"  network_mirror {{\n    url = {_quoted(mirror.rstrip('/') + '/')}\n  }}\n"
    return f"  filesystem_mirror {{\n    path = {_quoted(mirror)}\n  }}\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")
