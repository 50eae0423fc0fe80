"""What a command does before it is one."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from cdc_actors.__main__ import run


class Interrupted(ModuleType):
    """A module whose loading is met by Ctrl-C."""

    def __getattr__(self, _name: str) -> None:
        raise KeyboardInterrupt


def test_ctrl_c_while_a_command_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with the status of one that was interrupted, and no traceback."""
    name = "cdc_actors.cli.main"
    monkeypatch.setitem(sys.modules, name, Interrupted(name))
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 130
