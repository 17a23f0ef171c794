"""``fmi-mpi``: the commands around a job."""

from __future__ import annotations

import pytest

from fmi_mpi.channels.registry import CHANNELS
from fmi_mpi.launch.tools import COMMANDS, main


def test_channels_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["channels"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(CHANNELS)


@pytest.mark.parametrize("words", [[], ["spam"], ["channels", "--spam"]])
def test_bad_input_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "fmi-mpi" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert COMMANDS[command] in " ".join(capsys.readouterr().out.split())
