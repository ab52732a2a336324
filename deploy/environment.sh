# Sourced by deploy/quickstart, deploy/test and .ci/run: makes the virtual environment in the checkout.
# Everything it writes is below the checkout: .venv and .cache.

say() { printf '%s\n' "driftwatch: $*" >&2; }
fail() { say "$*"; exit 1; }

find_python() {
  for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  fail "Python 3.11 or newer is needed, and none was found. Install it, or name one: PYTHON=/path/to/python3 $0"
}

# prepare_environment EXTRAS: an environment with driftwatch and these extras; nothing to do the second time.
prepare_environment() {
  command -v git >/dev/null 2>&1 || fail "git is needed, and none was found. Install git 2.30 or newer."
  export PIP_CACHE_DIR="$root/.cache/pip" PIP_DISABLE_PIP_VERSION_CHECK=1
  # pip comes last into a virtual environment: without it, this one was interrupted and is made once more.
  if ! "$root/.venv/bin/python" -c 'import pip' 2>/dev/null; then
    python=$(find_python) || exit 1
    say "making a virtual environment in .venv ($("$python" --version))"
    "$python" -m venv "$root/.venv" ||
      fail "no virtual environment could be made; on Debian and Ubuntu: apt-get install python3-venv"
  fi
  stamp="$root/.venv/.driftwatch-$1"
  if [ ! -e "$stamp" ] || [ "$root/pyproject.toml" -nt "$stamp" ]; then
    say "installing driftwatch and what it needs (extras: $1)"
    "$root/.venv/bin/python" -m pip install --quiet --editable "$root[$1]" ||
      fail "the installation failed; the lines above say why. Run it again when that is mended."
    touch "$stamp"
  fi
}
