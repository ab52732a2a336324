"""What stands before terraform on its command line: small programs that prepare its process and become it."""

from __future__ import annotations

import shutil
import subprocess
from functools import cached_property

_NAMESPACES = (("--uts",), ("--user", "--map-current-user", "--keep-caps", "--uts"))
"""Ways to have a host name of one's own: root's, and everybody's where the machine allows it."""

_RENAMED = 'hostname "$0" && exec "$@"'
_PROBE_SECONDS = 5


class Guard:
    """Finds the programs once; on machines without them terraform runs without their help."""

    def __init__(self, search_path: str) -> None:
        self._search_path = search_path

    @cached_property
    def orphaned(self) -> tuple[str, ...]:
        """Has the kernel interrupt terraform when we are gone: it ends its providers then, and its lock."""
        setpriv = self._find("setpriv")
        return (setpriv, "--pdeathsig", "INT") if setpriv else ()

    def signed(self, name: str) -> tuple[str, ...]:
        """The same, with `name` as the host name: terraform writes it into the state lock (`Who`).

        A lock that is left behind can then be told to be ours, and of which run.
        """
        # The namespace first: entering one takes back what was asked of the kernel for orphans.
        return (*self.named(name), *self.orphaned)

    def named(self, name: str) -> tuple[str, ...]:
        """Only the name: for what must outlive us."""
        return (*self._renaming, name) if self._renaming else ()

    @cached_property
    def _renaming(self) -> tuple[str, ...]:
        unshare, shell = self._find("unshare"), self._find("sh")
        for namespace in _NAMESPACES if unshare and shell else ():
            renaming = (str(unshare), *namespace, str(shell), "-c", _RENAMED)
            if self._works((*renaming, "dw-probe", "true")):
                return renaming
        return ()

    def _works(self, command: tuple[str, ...]) -> bool:
        try:
            ran = subprocess.run(
                command,
                env={"PATH": self._search_path},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PROBE_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return ran.returncode == 0

    def _find(self, name: str) -> str | None:
        return shutil.which(name, path=self._search_path)
