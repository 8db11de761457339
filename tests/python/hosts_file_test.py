"""Host files, and where a driver listens for the workers of other hosts."""

import argparse
import sys

import pytest

from troupe import launch
from troupe.launcher import hosts
from troupe.launcher.settings import Host, Settings

FILE = """
# the small ones
node1 slots=8
node2.example.org   devices=cpu=2 user=ada port=2222  # behind a firewall

10.0.0.7
"""


def test_a_host_file(tmp_path):
    (tmp_path / "hosts").write_text(FILE)
    assert hosts.read(str(tmp_path / "hosts"), "cpu=3") == [
        Host("node1", "cpu=8"),
        Host("node2.example.org", "cpu=2", "ada", 2222),
        Host("10.0.0.7", "cpu=3"),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("node1", "'node1' is on line 1 already; one line has all its slots"),
        ("slots=8", "'slots=8' is no name of a host (a user is given as user=NAME, a port as port=NUMBER)"),
        ("ada@node2", "'ada@node2' is no name of a host (a user is given as user=NAME, a port as port=NUMBER)"),
        ("-oPort=1", "'-oPort=1' is no name of a host (a user is given as user=NAME, a port as port=NUMBER)"),
        ("node2 8", "'8' is unknown; after the host's name come slots=, devices=, user=, port="),
        ("node2 slot=8", "'slot=8' is unknown; after the host's name come slots=, devices=, user=, port="),
        ("node2 slots=0", "'slots=0' is not a number from 1 to 1048576"),
        ("node2 slots", "'slots=' is not a number from 1 to 1048576"),
        ("node2 port=65536", "'port=65536' is not a number from 1 to 65535"),
        ("node2 port=ssh", "'port=ssh' is not a number from 1 to 65535"),
        ("node2 user=", "'user=' is no name of a user"),
        ("node2 user=-v", "'user=-v' is no name of a user"),
        ("node2 devices=8", "'8' is not KIND=COUNT, as in cpu=4"),
        ("node2 devices=cuda=8", "'cuda=8': workers offer CPU devices only; give cpu=COUNT"),
        ("node2 slots=2 slots=2", "'slots=2' comes after slots=2; one of them is too many"),
        ("node2 slots=2 devices=cpu=2", "slots=N is short for devices=cpu=N; give one of them"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, expected):
    path = tmp_path / "hosts"
    path.write_text(f"node1\n\n{line}\n")
    with pytest.raises(ValueError) as error:
        hosts.read(str(path), "cpu=1")
    assert str(error.value) == f"{path}:3: {expected}"


def test_a_file_without_hosts(tmp_path):
    path = tmp_path / "hosts"
    with pytest.raises(ValueError, match="cannot be read: No such file or directory"):
        hosts.read(str(path), "cpu=1")
    path.write_text("# none\n")
    with pytest.raises(ValueError, match="names no host"):
        hosts.read(str(path), "cpu=1")


@pytest.fixture
def parsed(tmp_path, monkeypatch):
    """Arguments of `troupe launch` in a directory with a script and a host file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()

    def parse(text: str, *lines: str, ssh: str = "ssh") -> Settings:
        (tmp_path / "hosts").write_text("\n".join(lines))
        parser = argparse.ArgumentParser()
        launch.add_arguments(parser)
        return launch.settings_of(parser.parse_args(["--hosts", "hosts", "--ssh", ssh, *text.split(), "train.py"]))

    return parse


def test_the_arguments_for_hosts(parsed):
    settings = parsed("--listen 10.0.0.1:4000 --python /opt/python --devices cpu=2", "node1 slots=4", "node2")
    found = [Host("node1", "cpu=4"), Host("node2", "cpu=2")]
    assert settings == Settings(
        0, "cpu=2", None, ["train.py"], found, ["ssh"], "/opt/python", "10.0.0.1:4000"
    )
    assert Settings.of_json(settings.as_json()) == settings
    assert parsed("--listen 10.0.0.1", "node1").python == sys.executable


def test_the_driver_listens_where_the_hosts_are_reached_from(parsed):
    assert parsed("", "localhost").listen == "127.0.0.1"
    with pytest.raises(ValueError, match="no.such.host.invalid is not found from here: .*; or say with --listen on"):
        parsed("", "no.such.host.invalid")


def test_an_alias_of_ssh_is_followed(parsed, tmp_path):
    (tmp_path / "ssh.py").write_text("print('user me\\nhostname 127.0.0.1')")
    assert parsed("", "alias", ssh=f"{sys.executable} ssh.py").listen == "127.0.0.1"


def test_another_ssh_has_to_be_there(parsed):
    with pytest.raises(ValueError, match="--ssh 'no-such-ssh -v': there is no such command"):
        parsed("", "node1", ssh="no-such-ssh -v")
