"""SecretBox: where the key comes from, and what happens with a wrong one."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.errors import OperatorError
from cdc_actors.store.secrets import KEY_VARIABLE, SecretBox, add_key

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OTHER_KEY = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="

OPEN_AND_ENCRYPT = """
import pathlib, sys
from cdc_actors.store.secrets import SecretBox
sys.stdin.readline()
print(SecretBox.open(pathlib.Path(sys.argv[1]), {}).encrypt("text"))
"""


@given(st.text())
def test_round_trip(text):
    """Any text comes back, and is not to be seen in between."""
    box = SecretBox.open(None, {KEY_VARIABLE: KEY})
    secret = box.encrypt(text)
    assert box.decrypt(secret) == text
    assert box.encrypt(text) != secret


def test_key_file_is_made_once_and_private(tmp_path):
    """The first use makes a file only its owner may read, the next uses it."""
    path = tmp_path / "new" / "key"
    secret = SecretBox.open(path, {}).encrypt("text")
    assert path.stat().st_mode & 0o777 == 0o600
    assert SecretBox.open(path, {}).decrypt(secret) == "text"
    assert [file.name for file in path.parent.iterdir()] == ["key"]


def test_variable_comes_before_file(tmp_path):
    """With the variable set, no file is read or made."""
    path = tmp_path / "key"
    secret = SecretBox.open(path, {KEY_VARIABLE: KEY}).encrypt("text")
    assert not path.exists()
    assert SecretBox.open(None, {KEY_VARIABLE: KEY}).decrypt(secret) == "text"


def test_processes_starting_together_agree(tmp_path):
    """Processes that find no key file at the same time end up with one key."""
    path = tmp_path / "key"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_AND_ENCRYPT, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    secrets = [process.communicate(timeout=60)[0] for process in processes]
    box = SecretBox.open(path, {})
    assert [box.decrypt(secret) for secret in secrets] == ["text"] * 4


def test_file_that_others_may_read(tmp_path):
    """A key that others may read is refused with the command that mends it."""
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o640)
    with pytest.raises(OperatorError, match=f"chmod 600 {path}"):
        SecretBox.open(path, {})


def test_a_new_key_encrypts_and_the_older_ones_decrypt(tmp_path):
    """With each key that is added, all that was encrypted before can be read."""
    path = tmp_path / "key"
    secrets = []
    for _ in range(3):
        add_key(path)
        box = SecretBox.open(path, {})
        secrets.append(box.encrypt("text"))
        assert [box.is_outdated(each) for each in secrets[-2:]] in (
            [False],
            [True, False],
        )
    assert [box.decrypt(secret) for secret in secrets] == ["text"] * 3
    assert path.stat().st_mode & 0o777 == 0o600
    lines = path.read_text().split()
    path.write_text(lines[-1])
    newest = SecretBox.open(path, {})
    assert newest.decrypt(secrets[-1]) == "text"
    with pytest.raises(OperatorError, match="put back the key"):
        newest.decrypt(secrets[-2])


def test_a_key_is_added_behind_a_line_without_end(tmp_path):
    """A file that an editor left without a last line break stays readable."""
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(KEY)
    secret = SecretBox.open(path, {}).encrypt("text")
    add_key(path)
    assert SecretBox.open(path, {}).is_outdated(secret)


def test_several_keys_in_the_variable():
    """There, too, the last one encrypts."""
    old = SecretBox.open(None, {KEY_VARIABLE: KEY}).encrypt("text")
    both = SecretBox.open(None, {KEY_VARIABLE: f"{KEY},{OTHER_KEY}"})
    assert both.decrypt(old) == "text"
    assert both.is_outdated(old)
    other = SecretBox.open(None, {KEY_VARIABLE: OTHER_KEY})
    assert other.decrypt(both.encrypt("new")) == "new"


def test_no_key_is_added_to_what_cannot_be_used(tmp_path):
    """A file that others may read or that holds no keys stays as it is."""
    path = tmp_path / "key"
    path.touch(0o644)
    path.write_text("rubbish")
    with pytest.raises(OperatorError, match="chmod 600"):
        add_key(path)
    path.chmod(0o600)
    with pytest.raises(OperatorError, match="in base64"):
        add_key(path)
    assert path.read_text() == "rubbish"


@pytest.mark.parametrize("key", ["short", "c2hvcnQ=", "ü" * 44, KEY[:-1] + "!"])
def test_malformed_key(key, tmp_path):
    """A key that is not 32 bytes in base64 is refused, naming where it is from."""
    with pytest.raises(OperatorError, match=KEY_VARIABLE):
        SecretBox.open(None, {KEY_VARIABLE: key})
    path = tmp_path / "key"
    path.write_text(key)
    path.chmod(0o600)
    with pytest.raises(OperatorError, match=str(path)):
        SecretBox.open(path, {})


def test_no_key():
    """Without a file and a variable the error names the variable."""
    with pytest.raises(OperatorError, match=f"set {KEY_VARIABLE}"):
        SecretBox.open(None, {KEY_VARIABLE: " "})


def test_folder_in_the_place_of_the_file(tmp_path):
    """A key file that cannot be read is an operator's error in the system's words."""
    tmp_path.chmod(0o700)
    with pytest.raises(OperatorError, match="Is a directory"):
        SecretBox.open(tmp_path, {})


@pytest.mark.parametrize("damage", [lambda s: s[:-8], lambda s: "x", lambda s: ""])
def test_wrong_key_or_damaged_secret(damage):
    """What cannot be decrypted says what to do, and not the secret."""
    secret = SecretBox.open(None, {KEY_VARIABLE: KEY}).encrypt("text")
    other = SecretBox.open(None, {KEY_VARIABLE: OTHER_KEY})
    for stored in (secret, damage(secret)):
        with pytest.raises(OperatorError, match="put back the key") as caught:
            other.decrypt(stored)
        assert secret not in str(caught.value)
