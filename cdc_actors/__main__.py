"""``python -m cdc_actors`` is ``cdc-actors``."""

from __future__ import annotations

import sys

_INTERRUPTED = 130


def run() -> None:
    """Run a command. Ctrl-C while it is being loaded ends it without a traceback."""
    try:
        from cdc_actors.cli.main import main  # noqa: PLC0415 - it is what takes so long
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    main()


if __name__ == "__main__":
    run()
