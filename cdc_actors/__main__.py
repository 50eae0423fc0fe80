"""``python -m cdc_actors`` is ``cdc-actors``."""

from cdc_actors.cli.main import main

if __name__ == "__main__":
    main()
