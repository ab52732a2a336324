"""`driftwatch`, and `python -m driftwatch`: the command line.

Importing it takes a good part of a second, in which a Ctrl-C shall say what it always says.
"""

import sys


def main() -> None:
    """Runs a command and exits with one of the designed codes."""
    try:
        from driftwatch.cli.main import main as command
    except KeyboardInterrupt:
        sys.exit("Interrupted; nothing was concluded.")
    command()


if __name__ == "__main__":
    main()
