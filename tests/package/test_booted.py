"""The package's life in a booted Debian, from installation to purge; the tests are its chapters.

They stand in order and share one machine: each finds it as the one before left it.
"""

import ipaddress
import json
import re
import resource
import time

import pytest
import yaml
from package import boot
from package.attack import COMBINED, NPM, Attack, Flood, attack_lines, fresh, post, posts
from support.events import login

PATIENCE = 10
"""Seconds for an installation; of its own CPU time, where the machine that tests is busy."""

TABLE = ("nft", "list", "table", "inet", "xmlrpc_blocker")
MANY = 5000
BAN_MANY = """
import json, socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect("/run/xmlrpc-blocker/control.sock")
    answers = s.makefile("r")
    for address in sys.stdin.read().split():
        ask = {"command": "ban", "address": address, "for": "1h"}
        s.sendall(json.dumps(ask).encode() + b"\\n")
        answer = json.loads(answers.readline())
        assert answer["ok"], answer
"""
EXAMPLES = "/usr/share/doc/xmlrpc-blocker-monitoring/examples"
PROMETHEUS = """
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [/etc/prometheus/rules/*.yaml]
"""
# After the table of the program (-310), so that this sees what that let through.
WITNESS = """
table inet witness {
  set banned { type ipv4_addr; flags interval; elements = { 198.18.16.0/21 }; }
  counter through { }
  chain after {
    type filter hook prerouting priority -305;
    ip saddr @banned counter name "through"
  }
}
"""


EVENTS = "/etc/xmlrpc-blocker/conf.d/wordpress.toml"
AS_WORDPRESS = ("--tag", "wordpress", "--priority", "authpriv.notice")
SENDER = """
import socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as pen:
    pen.connect(sys.argv[1])
    for text in sys.stdin:
        pen.send(text.rstrip().encode())
"""


@pytest.fixture(scope="module")
def machine(suite, deb, monitoring):
    """A machine with nginx, as a server has it, and all that the daemon's package will need."""
    with boot.machine(suite) as made:
        made.put(deb, "/root/xmlrpc-blocker.deb")
        made.put(monitoring, "/root/monitoring.deb")
        made.download("update")
        made.download("install", "--download-only", "nginx-light", "/root/xmlrpc-blocker.deb")
        made.apt("install", "nginx-light")
        yield made


@pytest.fixture
def apache(machine):
    """Apache has the port for as long as a test lasts; its log is one that was not there before."""
    machine.run("systemctl", "stop", "nginx")
    machine.download("install", "--download-only", "apache2")
    machine.apt("install", "apache2")
    machine.run("systemctl", "start", "apache2")
    yield
    machine.run("systemctl", "disable", "-q", "--now", "apache2")
    machine.run("systemctl", "start", "nginx")


KEPT = ("/proc", "/sys", "/dev", "/run", "/tmp", "/root", "/var/cache", "/var/lib/apt", "/var/log")  # noqa: S108
"""Where others write: the kernel, apt, and the web server's logs, which are the administrator's."""
OTHERS = (
    *("/var/lib/dpkg/", "/var/lib/systemd/", "/var/lib/nginx/", "/var/lib/prometheus"),
    *("/etc/prometheus", "/var/tmp/"),  # noqa: S108 - nothing of ours
    *("/etc/apache2/", "/etc/rc", "/etc/lighttpd/", "/var/lib/apache2/", "/var/www/html/"),
    *("/etc/systemd/system/multi-user.target.wants/prometheus", "/var/lib/logrotate/"),
)


def files(machine):
    """Return every path of the file system, apart from where others write all the time."""
    skip = " -o ".join(f"-path {each}" for each in KEPT)
    return set(machine.run(*f"find / -xdev ( {skip} ) -prune -o -print".split()).splitlines())


def listed(machine):
    """Return every path of the packages that are still installed."""
    return set(machine.run("sh", "-c", "cat /var/lib/dpkg/info/*.list").splitlines())


def known(packaged, path):
    """Tell whether a path is of a package that is still installed, or what such a one made."""
    if path.startswith(OTHERS):
        return True
    # A cache is of its source's package, and the directory of caches of the directory's.
    source = re.sub(r"/__pycache__/([^/]+)\.cpython-[^/]*$", r"/\1.py", path)
    return source.removesuffix("/__pycache__") in packaged


@pytest.fixture(scope="module")
def before(machine):
    """What was there before the package."""
    return files(machine)


def until(what, patience=10.0):
    """Wait until something is true, and return how long that took."""
    begin = time.monotonic()
    while not what():
        assert time.monotonic() - begin < patience, f"not within {patience} s"
        time.sleep(0.02)
    return time.monotonic() - begin


def protecting(machine):
    return machine.ok("systemctl", "is-active", "-q", "xmlrpc-blocker") and machine.ok(*TABLE)


def cpu_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def status(machine):
    return json.loads(machine.run("xmlrpc-blocker", "status", "-o", "json"))


def ready(machine):
    """Return the logs that are up."""
    return {row["path"] for row in status(machine)["logs"] if row["up"]}


def banned(machine):
    """Return the addresses that are banned."""
    found = json.loads(machine.run("xmlrpc-blocker", "bans", "-o", "json"))
    return {row["address"] for row in found["bans"]}


def guesses(address):
    """Return what WordPress' plugin reports of three different passwords."""
    return "".join(f"{login(address, n)}\n" for n in range(3))


def properties(machine, *names):
    text = machine.run("systemctl", "show", "xmlrpc-blocker", *(f"-p{name}" for name in names))
    return dict(line.split("=", 1) for line in text.splitlines())


@pytest.mark.short
def test_installed_it_protects(machine, before, figures):
    """apt-get install is all: soon after it runs and blocks, and no unit has failed."""
    begin, cpu_before = time.monotonic(), cpu_of_children()
    said = machine.apt("install", "/root/xmlrpc-blocker.deb")
    until(lambda: protecting(machine))
    seconds, cpu = time.monotonic() - begin, cpu_of_children() - cpu_before
    figures.append(f"from apt-get install to protecting: {seconds:.1f} s ({cpu:.1f} s of CPU)")
    assert min(seconds, cpu) < PATIENCE
    assert "/etc/xmlrpc-blocker" in said
    assert "bans for real" in said
    assert machine.run("systemctl", "--failed", "--plain", "--no-legend").strip() == ""


@pytest.mark.short
@pytest.mark.parametrize("version", [4, 6])
def test_an_attackers_third_post_is_its_last(machine, version):
    """Three are answered, the next three are not, and others are still served."""
    source = fresh(version)
    assert posts(machine, source, 6) == 3
    assert post(machine, fresh(version))


def test_the_journal_is_asked_by_address(machine):
    """One question finds the ban of an attacker, with its fields, and the journal explains it."""
    source = fresh(4)
    assert posts(machine, source, 4) == 3
    ask = ("journalctl", "-q", "-u", "xmlrpc-blocker", "EVENT=ban", f"CLIENT_IP={source}")
    until(lambda: machine.run(*ask))
    (entry,) = map(json.loads, machine.run(*ask, "-o", "json").splitlines())
    assert (entry["_TRANSPORT"], entry["HITS"], entry["TRAP"]) == ("journal", "3", "xmlrpc")
    assert entry["LOG"] == "/var/log/nginx/access.log"
    assert "the kernel has been told" in " ".join(machine.run(*ask, "-x").split())


@pytest.mark.parametrize("version", [4, 6])
def test_nor_does_apache_answer_a_fourth(machine, apache, version):
    """Behind Apache, whose log is found as well, the third POST is the last one, too."""
    source = fresh(version)
    assert posts(machine, source, 6) == 3
    assert post(machine, fresh(version))


def test_it_may_change_the_firewall_and_nothing_else(machine, figures):
    """One capability, its own user, the limits of its unit, and a score of at most 1.5."""
    pid = properties(machine, "MainPID")["MainPID"]
    state = machine.run("cat", f"/proc/{pid}/status")
    for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert re.search(rf"^{name}:\s+0*1000$", state, re.MULTILINE), name
    assert re.search(r"^NoNewPrivs:\s+1$", state, re.MULTILINE)
    uid = machine.run("id", "-u", "xmlrpc-blocker").strip()
    assert re.search(rf"^Uid:\s+{uid}\s", state, re.MULTILINE)
    assert properties(machine, "MemoryMax", "TasksMax") == {
        "MemoryMax": str(1024**3), "TasksMax": "64",
    }  # fmt: skip
    said = machine.run("systemd-analyze", "security", "--threshold=15", "xmlrpc-blocker.service")
    figures.append(said.strip().splitlines()[-1])


def test_members_of_its_group_may_ask_and_others_may_not(machine):
    """The control socket is for root and one group."""
    ask = "runuser -u nobody -g {} -- xmlrpc-blocker status"
    machine.run(*ask.format("xmlrpc-blocker").split())
    assert not machine.ok(*ask.format("nogroup").split())


def test_manual_and_completions_are_installed(machine):
    """So is what reportbug says first, and the complete example."""
    listed = machine.run("dpkg", "-L", "xmlrpc-blocker")
    for path in (
        "man8/xmlrpc-blocker.8", "man5/xmlrpc-blocker.toml.5", "completions/xmlrpc-blocker",
        "vendor-completions/_xmlrpc-blocker", "vendor_completions.d/xmlrpc-blocker.fish",
        "examples/config.example.toml", "bug/xmlrpc-blocker/presubj",
    ):  # fmt: skip
        assert path in listed, path


def test_a_dry_run_is_one_line_away(machine):
    """Set and reloaded, it takes the table down; taken back, everybody is blocked again."""
    source = fresh(4)
    assert posts(machine, source, 4) == 3
    machine.put("dry_run = true\n", "/etc/xmlrpc-blocker/conf.d/dry.toml")
    machine.run("systemctl", "reload", "xmlrpc-blocker")
    until(lambda: not machine.ok(*TABLE))
    assert post(machine, source)
    machine.run("rm", "/etc/xmlrpc-blocker/conf.d/dry.toml")
    machine.run("systemctl", "reload", "xmlrpc-blocker")
    until(lambda: machine.ok(*TABLE))
    until(lambda: not post(machine, source))


def test_a_bad_configuration_changes_nothing(machine):
    """``systemctl reload`` fails, the daemon works on, and commands still reach it."""
    before = properties(machine, "MainPID")
    machine.put("dry_rum = true\n", "/etc/xmlrpc-blocker/conf.d/bad.toml")
    assert not machine.ok("systemctl", "reload", "xmlrpc-blocker")
    journal = machine.run("journalctl", "-u", "xmlrpc-blocker", "-n", "20", "-o", "cat")
    assert "did you mean dry_run?" in journal
    assert properties(machine, "MainPID", "ActiveState") == {**before, "ActiveState": "active"}
    assert posts(machine, fresh(4), 4) == 3
    assert "banned" in machine.run("xmlrpc-blocker", "status")
    machine.run("systemctl", "kill", "-s", "HUP", "xmlrpc-blocker")
    until(lambda: "refused" in properties(machine, "StatusText")["StatusText"])
    machine.run("rm", "/etc/xmlrpc-blocker/conf.d/bad.toml")
    machine.run("systemctl", "reload", "xmlrpc-blocker")


HINDERED = """
for site in a.example b.example; do
    mkdir -p /var/www/vhosts/$site/logs
    echo '192.0.2.1 - - [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 1 "-" "-"' \\
        >/var/www/vhosts/$site/logs/access_ssl_log
    chmod 0640 /var/www/vhosts/$site/logs/access_ssl_log
done
mkdir -p /var/log/odd /var/log/secret
for n in 1 2 3 4 5; do
    echo "POST /xmlrpc.php asked by 198.51.100.7 at noon"
done >/var/log/odd/access.log
touch /var/log/secret/access.log
chmod 0600 /var/log/secret/access.log
"""
PLESK = "/var/www/vhosts/*/logs/access_ssl_log"
HINDERED_LOGS = [
    "/var/log/nginx/*access*.log", PLESK, "/var/log/odd/access.log", "/var/log/secret/access.log",
    "/var/log/{apache2,httpd}/access.log", "/home/*/logs/access.log",
]  # fmt: skip
ADVICE = {
    PLESK: "setfacl -R -m u:xmlrpc-blocker:rX,d:u:xmlrpc-blocker:rX /var/www/vhosts/*/logs",
    "/var/log/odd/access.log": "set `format` to ",
    "/var/log/secret/access.log": "setfacl -R -m u:xmlrpc-blocker:rX,d:u:xmlrpc-blocker:rX"
    " /var/log/secret",
    "/var/log/{apache2,httpd}/access.log": "braces are not expanded",
    "/home/*/logs/access.log": "`ProtectHome=read-only`",
}
"""By pattern: what is to be done."""


def test_what_hinders_it_is_said_with_what_to_do(machine, figures):
    """Logs as Plesk has them, an unknown format, a closed log, braces, /home: nothing is silent."""
    machine.run("sh", "-ec", HINDERED)
    machine.put(f"logs = {json.dumps(HINDERED_LOGS)}\n", "/etc/xmlrpc-blocker/conf.d/logs.toml")
    checked = machine.run("xmlrpc-blocker", "check")
    machine.run("systemctl", "reload", "xmlrpc-blocker")
    until(lambda: len(status(machine)["problems"]) >= 6)
    shown = machine.run("xmlrpc-blocker", "status")
    ask = ("journalctl", "-q", "-u", "xmlrpc-blocker", "-o", "cat", "--since", "-1min")
    kinds = ("log_unreadable", "log_pattern", "log_not_understood")
    journal = machine.run(*ask, *(f"EVENT={kind}" for kind in kinds))
    figures += ["$ xmlrpc-blocker check", checked, "$ xmlrpc-blocker status", shown]
    figures += [f"$ journalctl -u xmlrpc-blocker EVENT={'|'.join(kinds)}", journal]
    for pattern, advice in ADVICE.items():
        assert any(pattern in note and advice in note for note in checked.splitlines()), pattern
    for place in ("/var/www/vhosts/a.example/logs/access_ssl_log", *list(ADVICE)[1:]):
        advice = ADVICE.get(place, "setfacl -R -m u:xmlrpc-blocker:rX")
        for said in (shown, journal):
            assert any(place in each and advice in each for each in said.splitlines()), place


def test_the_command_that_it_prints_is_the_cure(machine):
    """Pasted, the logs are followed, also behind their rotation; an attacker there is banned."""
    machine.download("install", "--download-only", "acl")
    machine.apt("install", "acl")
    machine.run("sh", "-ec", ADVICE[PLESK])
    notes = json.loads(machine.run("xmlrpc-blocker", "check", "-o", "json"))["notes"]
    assert not any("vhosts" in note for note in notes)
    log = "/var/www/vhosts/a.example/logs/access_ssl_log"
    machine.run("sh", "-ec", f"umask 027; mv {log} {log}.1; touch {log}")
    until(lambda: {row["path"]: row["up"] for row in status(machine)["logs"]}.get(log))
    machine.run("sh", "-ec", f"cat >>{log}", text=attack_lines(machine, "198.18.31.9"))
    until(lambda: "198.18.31.9" in machine.run("xmlrpc-blocker", "bans", "-o", "json"))
    machine.run("rm", "/etc/xmlrpc-blocker/conf.d/logs.toml")
    machine.run("rm", "-r", "/var/www/vhosts", "/var/log/odd", "/var/log/secret")
    machine.run("systemctl", "reload", "xmlrpc-blocker")
    until(lambda: not status(machine)["problems"])


PANELS = """
for site in a.example b.example; do
    mkdir -p /var/www/vhosts/$site/logs /var/www/vhosts/system/$site/logs
    touch /var/www/vhosts/system/$site/logs/proxy_access_ssl_log
    (umask 027; touch /var/www/vhosts/$site/logs/proxy_access_ssl_log)
    mkdir -p /var/log/ispconfig/httpd/$site
    touch /var/log/ispconfig/httpd/$site/20261130-access.log
    ln -s 20261130-access.log /var/log/ispconfig/httpd/$site/access.log
done
mkdir -p -m 0750 /data/logs
(umask 027; touch /data/logs/proxy-host-1_access.log /data/logs/proxy-host-2_access.log)
"""
PANEL_LOGS = (
    *(f"/var/www/vhosts/system/{each}.example/logs/proxy_access_ssl_log" for each in "ab"),
    *(f"/var/log/ispconfig/httpd/{each}.example/access.log" for each in "ab"),
    *(f"/data/logs/proxy-host-{each}_access.log" for each in "12"),
)


def test_what_logs_proposes_protects_every_site_of_a_panel(machine, figures):
    """Pasted with the commands below it: Plesk with nginx, ISPConfig, and Nginx Proxy Manager."""
    machine.run("sh", "-ec", PANELS)
    append = "cat >>{}".format
    forms = {path: NPM if "proxy-host" in path else COMBINED for path in PANEL_LOGS}
    for path, form in forms.items():
        machine.run("sh", "-ec", append(path), text=attack_lines(machine, "192.0.2.1", form))
    proposed = json.loads(machine.run("xmlrpc-blocker", "logs", "-o", "json"))
    machine.put(proposed["config"], "/etc/xmlrpc-blocker/conf.d/logs.toml")
    for fix in proposed["fixes"]:
        machine.run("sh", "-ec", fix)
    figures += ["$ xmlrpc-blocker logs", machine.run("xmlrpc-blocker", "logs")]
    machine.run("systemctl", "reload", "xmlrpc-blocker")
    until(lambda: {row["path"] for row in status(machine)["logs"] if row["up"]} >= {*PANEL_LOGS})
    for number, (path, form) in enumerate(forms.items()):
        source = f"198.18.30.{number + 1}"
        machine.run("sh", "-ec", append(path), text=attack_lines(machine, source, form))
        until(lambda source=source: source in machine.run("xmlrpc-blocker", "bans", "-o", "json"))
    assert not status(machine)["problems"]
    machine.run("rm", "-r", "/var/www/vhosts", "/data", "/var/log/ispconfig")
    machine.run("rm", "/etc/xmlrpc-blocker/conf.d/logs.toml")
    machine.run("systemctl", "reload", "xmlrpc-blocker")


def test_the_journal_is_followed_by_the_hardened_service(machine):
    """By a unit's name and by an identifier; an attacker in either is banned."""
    names = ["journal:web.service", "journal:identifier=web"]
    machine.put(f"logs = {json.dumps(names)}\n", "/etc/xmlrpc-blocker/conf.d/logs.toml")
    machine.run("systemctl", "reload", "xmlrpc-blocker")
    until(lambda: {row["path"] for row in status(machine)["logs"] if row["up"]} == {*names})
    machine.run("systemd-cat", "-t", "web", text=attack_lines(machine, "198.18.30.21"))
    machine.put(attack_lines(machine, "198.18.30.22"), "/root/lines")
    words = ("systemd-run", "-q", "--unit=web", "--wait", "cat", "/root/lines")
    machine.run(*words)
    for source in ("198.18.30.21", "198.18.30.22"):
        until(lambda source=source: source in machine.run("xmlrpc-blocker", "bans", "-o", "json"))
    assert not status(machine)["problems"]
    machine.run("rm", "/etc/xmlrpc-blocker/conf.d/logs.toml", "/root/lines")
    machine.run("systemctl", "reload", "xmlrpc-blocker")


@pytest.mark.short
def test_three_wrong_passwords_are_a_ban(machine):
    """By the journal, and by a socket: both believe the web server's user, and no other."""
    door = "/run/xmlrpc-blocker/events.sock"
    machine.put(f'events = ["journal", "unix:{door}"]\n', EVENTS)
    machine.run("systemctl", "reload", "xmlrpc-blocker")
    until(lambda: {"journal", f"unix:{door}"} <= ready(machine))
    for user, by_journal, by_socket in (
        ("nobody", "198.18.30.30", "198.18.30.31"),
        ("www-data", "198.18.30.32", "198.18.30.33"),
    ):
        who = ("setpriv", f"--reuid={user}", "--clear-groups")
        machine.run(*who, "logger", *AS_WORDPRESS, text=guesses(by_journal))
        machine.run(*who, "python3", "-c", SENDER, door, text=guesses(by_socket))
    until(lambda: {"198.18.30.32", "198.18.30.33"} <= banned(machine))
    assert not banned(machine) & {"198.18.30.30", "198.18.30.31"}
    machine.run("rm", EVENTS)
    machine.run("systemctl", "reload", "xmlrpc-blocker")


def test_three_wrong_passwords_in_the_file_of_rsyslog_are_a_ban(machine):
    """Which older hosts have; the service reads it as a member of the group adm."""
    machine.download("install", "--download-only", "rsyslog")
    machine.apt("install", "rsyslog")
    machine.put('events = ["/var/log/auth.log"]\n', EVENTS)
    machine.run("systemctl", "reload", "xmlrpc-blocker")
    machine.run("logger", *AS_WORDPRESS, text="a line that makes the file\n")
    until(lambda: "/var/log/auth.log" in ready(machine), 30)
    machine.run("setpriv", "--reuid=www-data", "--clear-groups", "logger", *AS_WORDPRESS,
                text=guesses("198.18.30.34"))  # fmt: skip
    until(lambda: "198.18.30.34" in banned(machine))
    assert not status(machine)["problems"]
    machine.run("rm", EVENTS)
    machine.run("systemctl", "reload", "xmlrpc-blocker")


@pytest.mark.parametrize("command", ["systemctl restart nftables", "nft flush ruleset"])
def test_a_flushed_ruleset_is_repaired_under_attack(machine, command, figures):
    """Another program empties the ruleset: the bans are back before a person could notice."""
    source = fresh(4)
    assert posts(machine, source, 4) == 3
    with Attack(machine, source) as attack:
        time.sleep(0.3)
        assert not attack.answers
        machine.run(*command.split())
        seconds = until(lambda: machine.ok(*TABLE))
        time.sleep(1)
        through = len(attack.answers)
        time.sleep(2)
        assert len(attack.answers) == through
    figures.append(f"{command}: back after {seconds:.2f} s, {through} answered meanwhile")
    assert through <= 3
    assert protecting(machine)


def test_logrotates_own_run_loses_no_hit(machine):
    """While the log is rotated attackers come and go: each is answered three times, no more."""
    before = status(machine)
    stamp = '"/var/log/nginx/access.log" 2020-1-1-0:0:0'
    machine.put(f"logrotate state -- version 2\n{stamp}\n", "/var/lib/logrotate/status")
    first, second = fresh(4), fresh(6)
    assert posts(machine, first, 2) == 2
    machine.run("systemctl", "start", "logrotate.service")
    assert machine.ok("test", "-e", "/var/log/nginx/access.log.1")
    assert posts(machine, first, 3) == 1
    assert posts(machine, second, 5) == 3
    assert status(machine)["hits"] - before["hits"] == 6
    assert machine.run("systemctl", "--failed", "--plain", "--no-legend").strip() == ""


@pytest.mark.short
def test_an_upgrade_under_attack_lets_no_packet_through(machine, deb, figures):
    """With 5,000 bans and a flood from them: the server sees no packet, and no hit is lost."""
    banned = [str(each) for each in ipaddress.ip_network("198.18.16.0/21").hosts()][:1000]
    banned += [f"198.19.{n // 250}.{n % 250 + 1}" for n in range(MANY - 1000)]
    machine.run("python3", "-c", BAN_MANY, text="\n".join(banned))
    assert status(machine)["active_bans"] >= MANY
    machine.run("nft", "-f", "-", text=WITNESS)
    machine.put(boot.newer(deb, "0.1.1"), "/root/newer.deb")
    attacker, pid = fresh(4), properties(machine, "MainPID")
    before = status(machine)
    with Flood(machine, banned[:500]) as flood:
        assert posts(machine, attacker, 2) == 2
        machine.apt("install", "/root/newer.deb")
        assert post(machine, attacker)
        until(lambda: not post(machine, attacker))
    witnessed = machine.run("nft", "list", "counter", "inet", "witness", "through")
    through = int(re.search(r"packets (\d+)", witnessed)[1])
    figures.append(f"upgrade with {MANY} bans: {flood.sent} packets sent, {through} let through")
    assert flood.sent > 500
    assert through == 0
    after = status(machine)
    assert properties(machine, "MainPID") != pid
    assert after["active_bans"] >= MANY
    assert after["hits"] - before["hits"] == 3 + _late(after, before)
    machine.run("nft", "delete", "table", "inet", "witness")


def _late(after, before):
    """Return the hits that were answered between the third and its ban: none, or very few."""
    return after["blocked"] - before["blocked"]


def test_stopped_it_goes_on_blocking(machine):
    """Stopping unblocks no address; started again it knows all, and reads what it missed."""
    source = fresh(6)
    assert posts(machine, source, 4) == 3
    machine.run("systemctl", "stop", "xmlrpc-blocker")
    assert not post(machine, source)
    other = fresh(4)
    assert posts(machine, other, 3) == 3
    machine.run("systemctl", "start", "xmlrpc-blocker")
    until(lambda: not post(machine, other))
    assert not post(machine, source)


def test_killed_it_comes_back_by_itself(machine):
    """A crash is answered by a restart, and no address is unblocked in between."""
    source = fresh(4)
    assert posts(machine, source, 4) == 3
    machine.run("systemctl", "kill", "-s", "KILL", "xmlrpc-blocker")
    with Attack(machine, source) as attack:
        until(lambda: protecting(machine), patience=15)
        assert not attack.answers
    assert not post(machine, source)


def test_all_are_unbanned_without_a_daemon(machine):
    """``unban --all`` works alone, and what root leaves behind is in no daemon's way."""
    source = fresh(4)
    assert posts(machine, source, 4) == 3
    machine.run("systemctl", "stop", "xmlrpc-blocker")
    machine.run("xmlrpc-blocker", "unban", "--all")
    assert not machine.ok(*TABLE)
    assert post(machine, source)
    machine.run("systemctl", "start", "xmlrpc-blocker")
    assert posts(machine, fresh(4), 4) == 3


def test_prometheus_takes_the_rules(machine):
    """With the two lines that the manual names it loads them, and they have something to say."""
    machine.download("install", "--download-only", "prometheus")
    machine.apt("install", "prometheus", "/root/monitoring.deb")
    machine.put(PROMETHEUS, "/root/head.yml")
    parts = f"/root/head.yml {EXAMPLES}/scrape.yaml"
    machine.run("sh", "-c", f"cat {parts} >/etc/prometheus/prometheus.yml")
    said = machine.run("promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    assert re.search(r"SUCCESS: [1-9]\d* rules found", said)
    machine.run("systemctl", "reload", "prometheus")
    for query in ('up{job="xmlrpc-blocker"} == 1', "instance:xmlrpc_blocker_hits:rate1h"):
        ask = ("promtool", "query", "instant", "http://localhost:9090", query)
        until(lambda ask=ask: "=>" in machine.run(*ask, check=False), patience=60)


def test_alerts_and_dashboards_lead_to_what_is_installed(machine):
    """Each runbook is where its alert says, and Grafana knows where the dashboards are."""
    rules = machine.run("cat", "/etc/prometheus/rules/xmlrpc-blocker.rules.yaml")
    pages = set(re.findall(r"file://(/\S+)", rules))
    assert pages
    machine.run("ls", *pages)
    (provider,) = yaml.safe_load(
        machine.run("cat", "/etc/grafana/provisioning/dashboards/xmlrpc-blocker.yaml")
    )["providers"]
    boards = machine.run("sh", "-c", f"cat {provider['options']['path']}/xmlrpc-blocker.json")
    assert json.loads(boards)["uid"] == "xmlrpc-blocker"


def test_removed_it_blocks_no_address_and_keeps_its_configuration(machine):
    """The table goes, the daemon goes, the configuration stays."""
    source = fresh(4)
    assert posts(machine, source, 4) == 3
    machine.apt("remove", "xmlrpc-blocker")
    assert not machine.ok(*TABLE)
    assert post(machine, source)
    assert not machine.ok("pgrep", "-f", "/usr/bin/xmlrpc-blocker")
    assert machine.ok("test", "-e", "/etc/xmlrpc-blocker/config.toml")
    assert machine.run("systemctl", "--failed", "--plain", "--no-legend").strip() == ""


def test_installed_again_it_protects_again(machine):
    """Who was unbanned by the removal is not blocked again for what was long ago."""
    machine.apt("install", "/root/newer.deb")
    until(lambda: protecting(machine))
    assert posts(machine, fresh(4), 4) == 3


@pytest.mark.short
def test_purged_it_leaves_nothing(machine, before):
    """Neither package leaves a file, nor the daemon a process, a user or a table."""
    machine.apt("purge", "xmlrpc-blocker*")
    assert not machine.ok(*TABLE)
    assert machine.run("nft", "list", "tables", "inet").count("blocker") == 0
    skip = " -o ".join(f"-path {each}" for each in KEPT)
    found = machine.run(
        *f"find / -xdev ( {skip} ) -prune -o -iname *xmlrpc[-_]blocker* -print".split()
    )
    assert found.split() == []
    new = files(machine) - before
    packaged = listed(machine)
    assert {path for path in new if not known(packaged, path)} == set()
    assert not machine.ok("test", "-e", "/etc/grafana")
    assert not machine.ok("test", "-e", "/etc/prometheus/rules")
    assert not machine.ok("getent", "passwd", "xmlrpc-blocker")
    assert not machine.ok("getent", "group", "xmlrpc-blocker")
    assert not machine.ok("pgrep", "-f", "xmlrpc-blocker")
    assert machine.run("systemctl", "is-system-running").strip() == "running"
