"""What the package is made of agrees with the program: manual, completions, version, settings."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import catalog
import completions
import manpages
import pytest
import yaml
from attrs import fields

from blocker import __version__
from blocker.cli.main import build_parser
from blocker.config.parse import parse
from blocker.config.schema import Config, FirewallConfig, MetricsConfig, TrapConfig
from blocker.telemetry.events import EVENTS

ROOT = Path(__file__).parent.parent.parent
PACKAGING = ROOT / "packaging"
DEBIAN = PACKAGING / "debian"


COMMANDS = manpages.commands(build_parser())


def plain(roff):
    """Return what a reader sees of a page."""
    text = re.sub(r"\\f[BIR]", "", roff)
    return text.replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_is_in_the_manual(name):
    """xmlrpc-blocker(8) has a section for each command, with its options and their help."""
    page = plain(manpages.manual_of_command())
    section = re.search(
        rf"^\.SS xmlrpc-blocker {name}\b.*?(?=^\.S[HS] )", page, re.MULTILINE | re.DOTALL
    )
    assert section, name
    for action in COMMANDS[name]._actions:
        if action.dest == "help":
            continue
        assert all(word in section[0] for word in action.option_strings or [action.metavar])
        assert (action.help or "") in section[0]


def test_every_global_option_and_exit_code_is_in_the_manual():
    """So are the options before the command, and the exit codes of the help."""
    page = plain(manpages.manual_of_command())
    for action in build_parser()._actions:
        assert all(word in page for word in action.option_strings)
    epilog = re.sub(r"\n {5}", " ", build_parser().epilog)
    codes = re.findall(r"^ {1,2}(\d+) {2}(.*)$", epilog, re.MULTILINE)
    assert [code for code, _ in codes] == ["0", "1", "2", "3", "4", "5", "78"]
    assert all(f".TP\n{code}\n{text}\n" in page for code, text in codes)
    assert epilog.splitlines()[-1].capitalize() in page


def test_every_example_of_the_manual_is_a_command():
    """What stands under EXAMPLES is understood by the parser as it stands there."""
    page = plain(manpages.manual_of_command())
    assert page.index(".SH FILES") < page.index(".SH EXAMPLES") < page.index(".SH NOTES")
    for text, _ in manpages.EXAMPLES:
        assert f".TP\n{text}\n" in page
        for command in text.partition("<")[0].split(";"):
            program, *words = shlex.split(command)
            if program == "xmlrpc-blocker":
                build_parser().parse_args(words)


def test_the_scripts_of_the_package_leave_no_bytecode():
    """What a maintainer's script runs of the program writes no caches: dpkg knows none of them."""
    for name in ("postinst", "prerm", "postrm"):
        script = (DEBIAN / f"xmlrpc-blocker.{name}").read_text()
        code = re.sub(r"(?m)^ *#.*$|\\\n|echo .*", "", script)
        for line in re.findall(r"(?m)^.*xmlrpc-blocker (?:unban|check).*$", code):
            assert "PYTHONDONTWRITEBYTECODE=1 xmlrpc-blocker" in line, f"{name}: {line}"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("note: dry_run: bans are judged and reported, but no address is blocked.", "a dry run"),
        ("", "bans for real"),
    ],
)
def test_postinst_says_whether_it_bans(said, expected, tmp_path):
    """A first installation over a configuration with a dry run says so."""
    program = tmp_path / "xmlrpc-blocker"
    config = tmp_path / "c.toml"
    config.write_text("dry_run = true\n" if said else "")
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m blocker --config {config} "$@"\n'
    )
    program.chmod(0o755)
    script = (DEBIAN / "xmlrpc-blocker.postinst").read_text().replace("#DEBHELPER#", "")
    words = ["sh", "-c", script, "postinst", "configure", ""]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    assert expected in done.stdout
    assert done.stderr == ""


def test_the_play_validates_before_it_installs():
    """The settings are checked by the program itself before they replace those at work."""
    (play,) = yaml.safe_load((PACKAGING / "ansible/xmlrpc-blocker.yml").read_text())
    modules = [next(key for key in task if key.startswith("ansible.")) for task in play["tasks"]]
    (copied,) = [
        task["ansible.builtin.copy"] for task in play["tasks"]
        if "conf.d" in task.get("ansible.builtin.copy", {}).get("dest", "")
    ]  # fmt: skip
    command = copied["validate"].replace("%s", "/tmp/x")  # noqa: S108 - nothing is there
    program, *words = shlex.split(command)
    assert program == "xmlrpc-blocker"
    assert build_parser().parse_args(words).config == Path("/tmp/x")  # noqa: S108
    assert modules.index("ansible.builtin.apt") < len(modules) - 1 - modules[::-1].index(
        "ansible.builtin.copy"
    )


@pytest.mark.parametrize("table", [Config, TrapConfig, FirewallConfig, MetricsConfig])
def test_every_key_is_in_the_manual(table):
    """xmlrpc-blocker.toml(5) has each key with its meaning and its default."""
    page = plain(manpages.manual_of_configuration())
    for attribute in fields(table):
        if "help" not in attribute.metadata:
            continue
        default = attribute.metadata["write"](getattr(table(), attribute.name))
        about = attribute.metadata["help"]
        assert f".TP\n{attribute.name}\n{about}\n.IP\nDefault: {default}" in page


@pytest.mark.parametrize("make", ["manual_of_command", "manual_of_configuration"])
def test_man_reads_the_pages_without_a_warning(make, tmp_path):
    """The formatter finds nothing to complain about."""
    groff = shutil.which("groff")
    page = tmp_path / "page.8"
    page.write_text(getattr(manpages, make)())
    for line in page.read_text().splitlines():
        assert not line.startswith("'"), line
    if groff is None:  # as on a host without man pages: the build's lintian looks at them, too
        return
    words = [groff, "-man", "-Tutf8", "-wall", "-rLL=200n", "-z", str(page)]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_option_is_completed(shell):
    """The completions of each shell know what the parser knows."""
    parser = build_parser()
    known = completions.commands(parser)
    text = getattr(completions, shell)(completions.options(parser), known)
    assert {command.name for command in known} == set(COMMANDS)
    for command in known:
        assert re.search(rf"\b{command.name}\b", text), command.name
        for name in (name for option in command.options for name in option.names):
            shown = re.sub("^-+", "", name) if shell == "fish" else name
            assert re.search(rf"(?<![\w-]){re.escape(shown)}\b", text), name


def complete(*words):
    """Return what bash offers behind the words."""
    parser = build_parser()
    text = completions.bash(completions.options(parser), completions.commands(parser))
    typed = " ".join(f"'{word}'" for word in words)
    asked = (
        f"{text}\nCOMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}\n"
        '_xmlrpc_blocker 2>/dev/null; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_completes():
    """What is typed is completed: commands, options, and what an option takes."""
    assert set(complete("xmlrpc-blocker", "")) >= set(COMMANDS) | {"--config"}
    assert complete("xmlrpc-blocker", "rep") == ["replay"]
    assert complete("xmlrpc-blocker", "--config", "x.toml", "expl") == ["explain"]
    assert complete("xmlrpc-blocker", "bans", "-o", "j") == ["json"]
    assert complete("xmlrpc-blocker", "unban", "--a") == ["--all"]


def test_the_package_has_the_programs_version():
    """The changelog of the package names the version that the program prints."""
    first = (DEBIAN / "changelog").read_text().splitlines()[0]
    assert first.startswith(f"xmlrpc-blocker ({__version__}) ")


def test_every_import_has_a_package():
    """What the program requires, the build requires too: so each exists in the archive."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {"attrs": "attr", "cattrs": "cattr", "pip-nftables": "nftables"}
    control = (DEBIAN / "control").read_text()
    for each in project["dependencies"]:
        name = each.split()[0]
        assert f"python3-{names.get(name, name)}" in control, name


def test_the_installed_configuration_shows_the_defaults():
    """Its comments are settings; all of them switched on are the defaults."""
    text = (DEBIAN / "config.toml").read_text()
    assert parse([("as installed", text)]) == Config()
    switched_on = re.sub(r"(?m)^#(?=[a-z_]+ = |\[)", "", text)
    assert switched_on != text
    assert parse([("switched on", switched_on)]) == Config()


def test_the_unit_names_no_path_that_the_defaults_do_not():
    """State and socket are where the configuration has them."""
    unit = (DEBIAN / "xmlrpc-blocker.service").read_text()
    assert "StateDirectory=xmlrpc-blocker\n" in unit
    assert Config().state.startswith("/var/lib/xmlrpc-blocker/")
    assert "RuntimeDirectory=xmlrpc-blocker\n" in unit
    assert Config().control.startswith("/run/xmlrpc-blocker/")


def test_a_reload_is_checked_before_the_daemon_is_signalled():
    """The lines run in order, and a failure of the first fails the reload."""
    unit = (DEBIAN / "xmlrpc-blocker.service").read_text()
    assert re.findall(r"(?m)^ExecReload=(.*)$", unit) == [
        "/usr/bin/xmlrpc-blocker check --no-logs", "/bin/kill -HUP $MAINPID",
    ]  # fmt: skip


def test_the_journal_explains_every_event(tmp_path, monkeypatch):
    """``journalctl -x`` has an entry for each, with its meaning and its fields in their places."""
    place = tmp_path / "usr/lib/systemd/catalog"
    monkeypatch.setattr("sys.argv", ["catalog.py", str(place)])
    catalog.main()
    ask = ("journalctl", f"--root={tmp_path}")
    subprocess.run((*ask, "--update-catalog"), check=True)
    for event in EVENTS.values():
        message = subprocess.run(
            (*ask, "--dump-catalog", event.message_id), capture_output=True, text=True, check=True
        ).stdout
        head, _, about = message.partition("\n\n")
        assert about.split() == event.about.replace("`", "").split()
        assert all(f"@{field}@" in head for field in set(event.fields) - set(event.also))


def installed(package):
    """Return where each listed file of a package goes."""
    places = {}
    for line in (DEBIAN / f"{package}.install").read_text().splitlines():
        pattern, place = line.split()
        places |= {str(path.relative_to(ROOT)): f"/{place}" for path in ROOT.glob(pattern)}
    return places


def test_grafana_knows_where_the_dashboards_are_installed():
    """All of them are in the package, in the directory that the provisioning names."""
    places = installed("xmlrpc-blocker-monitoring")
    provisioning = ROOT / "grafana/provisioning/dashboards/xmlrpc-blocker.yaml"
    path = yaml.safe_load(provisioning.read_text())["providers"][0]["options"]["path"]
    boards = [str(each.relative_to(ROOT)) for each in ROOT.glob("grafana/dashboards/*")]
    assert boards
    assert {places[each] for each in boards} == {path}


def test_the_plugin_for_wordpress_is_where_its_page_says():
    """docs/wordpress.md copies it from the place where the Debian package has it."""
    places = installed("xmlrpc-blocker")
    place = places["packaging/wordpress/xmlrpc-blocker.php"]
    assert place == "/usr/share/xmlrpc-blocker/wordpress"
    assert f"{place}/xmlrpc-blocker.php" in (ROOT / "docs/wordpress.md").read_text()


def test_alerts_link_to_runbooks_where_they_are_installed():
    """The package has the pages in its documentation, and does not pack them."""
    assert "docs/runbooks" in (DEBIAN / "xmlrpc-blocker-monitoring.docs").read_text().split()
    assert "dh_compress -X.md" in (DEBIAN / "rules").read_text()
    rules = (PACKAGING / "prometheus/xmlrpc-blocker.rules.yaml").read_text()
    pages = set(re.findall(r"runbook_url: file:///usr/share/doc/([\w-]+/runbooks)/", rules))
    assert pages == {"xmlrpc-blocker-monitoring/runbooks"}


def test_restarts_back_off_where_systemd_can():
    """From trixie on the pauses grow; bookworm's systemd does not know how, and is not asked."""
    unit = DEBIAN / "xmlrpc-blocker.service"
    (script,) = re.findall(r"^BACKOFF := (.*)$", (DEBIAN / "rules").read_text(), re.MULTILINE)
    after = subprocess.run(["sed", script, unit], capture_output=True, text=True, check=True).stdout
    assert "StartLimitIntervalSec=0\n" in after
    assert "\nRestartSec=1s\nRestartSteps=10\nRestartMaxDelaySec=2min\n" in after
    assert "\nRestartSec=5s\n" in unit.read_text()
    assert "\nRestartSteps" not in unit.read_text()
