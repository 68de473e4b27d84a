"""The daemon's life: started, stopped, reloaded, robbed of its ruleset; all bans hold."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time

import pytest
from support.daemons import (
    ATTACKER4,
    ATTACKER6,
    BYSTANDER6,
    NEIGHBOUR4,
    PATIENCE,
    daemon,
    is_served,
    line,
    wait_for,
    write,
)

DAY = 86400
HOUR = 3600
NETWORK6 = "2001:db8:bad:1::/64"


@pytest.fixture
def service(network, tmp_path):
    """A daemon in the server's namespace, not started yet."""
    with daemon(network.server, tmp_path) as made:
        yield made


def attack(service, *addresses, times=3, ago=0.0):
    """Write attacks into the log."""
    write(service.log, *(line(who, ago=ago) for _ in range(times) for who in addresses))


def strangers(count, start=0):
    """Return so many addresses that are not in use."""
    return [f"198.18.{n >> 8}.{n & 255}" for n in range(start, start + count)]


def ruleset(network):
    return network.server.run("nft", "list", "ruleset")


# Stop and start --------------------------------------------------------------------------------


def test_stopping_ends_no_ban(network, service):
    """Without a daemon the attacker is dropped still, and the next one knows how long yet."""
    service.start()
    attack(service, ATTACKER4, ATTACKER6)
    service.until_blocked(ATTACKER4, ATTACKER6)
    service.until(bans=2)
    before = service.bans()
    assert service.stop() == 0
    assert "the kernel goes on blocking" in service.said()
    assert not is_served(network.server, network.attacker, ATTACKER4)
    assert not is_served(network.server, network.attacker, ATTACKER6)
    assert is_served(network.server, network.neighbour, NEIGHBOUR4)
    service.start()
    assert not is_served(network.server, network.attacker, ATTACKER4)
    after = service.bans()
    assert set(before) == set(after) == {ATTACKER4, NETWORK6}
    for address, ban in after.items():
        assert before[address]["left"] - 60 < ban["left"] <= before[address]["left"]
        assert ban == before[address] | {"left": ban["left"]}
        assert abs(service.left(address) - ban["left"]) < 2


def test_killing_loses_nothing(network, service):
    """Killed without warning, it goes on where it was: no hit is lost, none counts twice."""
    service.start()
    attack(service, ATTACKER4, times=2)
    service.until(hits=2)
    service.stop(signal.SIGKILL)
    service.start()
    attack(service, ATTACKER4, times=1)
    service.until_blocked(ATTACKER4)
    service.until(hits=3, lines=3, bans=1)
    assert service.bans()[ATTACKER4]["hits"] == 3


def test_lines_written_meanwhile_are_judged_at_the_next_start(service):
    """Two attacks seen before the stop and one written after it make a ban."""
    service.start()
    attack(service, ATTACKER4, times=2)
    service.until(hits=2)
    service.stop()
    attack(service, ATTACKER4, times=1)
    service.start()
    service.until_blocked(ATTACKER4)
    service.until(hits=3)


def test_a_first_start_bans_no_address_that_has_been_quiet(service):
    """Of a log never seen before, yesterday's attacks are passed over and the last hour's count."""
    old, recent, slow = strangers(3)
    attack(service, old, times=50, ago=DAY)
    attack(service, slow, times=2, ago=2 * HOUR)
    attack(service, recent, times=3, ago=HOUR / 6)
    attack(service, slow, times=1, ago=60)
    service.start()
    service.until_blocked(recent)
    service.until(hits=4, bans=1)
    assert set(service.bans()) == {recent}
    assert abs(service.left(recent) - (DAY - HOUR / 6)) < 30
    assert service.left(old) is service.left(slow) is None


def test_sigterm_ends_with_success(service):
    """A stop that was asked for is no failure, no matter what has just been written."""
    service.start()
    attack(service, *strangers(200))
    assert service.stop(signal.SIGTERM) == 0
    assert "Traceback" not in service.said()
    assert not service.socket.exists()
    service.start()
    service.until(hits=600, bans=200)


def test_an_interrupt_ends_as_a_shell_expects(service):
    """After Ctrl-C the process ends by that very signal."""
    service.start()
    assert service.stop(signal.SIGINT) == -signal.SIGINT


def test_a_second_daemon_does_not_start(network, service):
    """Who finds another daemon answering ends with a reason, and disturbs nothing."""
    service.start()
    attack(service, ATTACKER4)
    service.until_blocked(ATTACKER4)
    second = service.run("run")
    assert second.returncode == 1
    assert "works with this state; stop it first" in second.stderr
    assert service.status()["pid"] == service.process.pid
    assert not is_served(network.server, network.attacker, ATTACKER4)


# Everybody in ----------------------------------------------------------------------------------


def test_unban_all_with_a_daemon(network, service):
    """All are unbanned at once, none is listed, and the daemon goes on."""
    service.start()
    attack(service, ATTACKER4, ATTACKER6)
    service.until_blocked(ATTACKER4, ATTACKER6)
    done = service.run("unban", "--all")
    assert (done.returncode, done.stdout) == (0, "unbanned everybody (2)\n")
    assert is_served(network.server, network.attacker, ATTACKER4)
    assert is_served(network.server, network.attacker, ATTACKER6)
    assert service.bans() == {}
    other = strangers(1)[0]
    attack(service, other)
    service.until_blocked(other)


def test_unban_all_without_a_daemon(network, service):
    """The emergency: table gone, no ban left in the store, and the next start makes no ban."""
    service.start()
    attack(service, ATTACKER4, ATTACKER6)
    service.until_blocked(ATTACKER4, ATTACKER6)
    service.until(bans=2)
    service.stop()
    done = service.run("unban", "--all")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "unbanned everybody (2); table xmlrpc_blocker deleted\n"
    assert done.stderr == "no daemon answers; did it without one\n"
    assert ruleset(network) == ""
    assert is_served(network.server, network.attacker, ATTACKER4)
    service.start()
    assert service.bans() == {}
    assert service.left(ATTACKER4) is service.left(ATTACKER6) is None
    assert is_served(network.server, network.attacker, ATTACKER6)


def test_unban_all_where_nothing_ever_ran(network, service):
    """With neither daemon nor table nor store there is nothing to do, and that is fine."""
    done = service.run("unban", "--all")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "unbanned everybody (0); table xmlrpc_blocker was not there\n"
    assert not service.state.exists()


@pytest.mark.parametrize("stopped", [False, True])
def test_another_prefix_blocks_no_address_that_never_attacked(network, service, stopped):
    """A wider network goes on with the ban; a narrower one ends it, for who it was is not known."""

    def change(prefix):
        service.configure(f"ipv6_prefix = {prefix}")
        if stopped:
            service.stop()
            service.start()
        else:
            service.reload(" started: ")

    service.start()
    attack(service, ATTACKER6)
    service.until_blocked(ATTACKER6)
    service.until(bans=1)
    change(48)
    assert list(service.bans()) == ["2001:db8:bad::/48"]
    assert not is_served(network.server, network.attacker, ATTACKER6)
    change(56)
    assert service.bans() == {}
    assert is_served(network.server, network.attacker, ATTACKER6)
    assert is_served(network.server, network.attacker, BYSTANDER6)
    assert "elements" not in network.server.run(
        "nft", "list", "set", "inet", "xmlrpc_blocker", "ban6"
    )


def tables(network):
    return network.server.run("nft", "list", "tables").split()[2::3]


@pytest.mark.parametrize("stopped", [False, True])
def test_another_table_takes_the_place_of_the_one_before(network, service, stopped):
    """The bans are in the new one, the old one is gone, and unban lets in."""
    service.start()
    attack(service, ATTACKER4)
    service.until_blocked(ATTACKER4)
    service.until(bans=1)
    for table, dry in (("other", ""), ("third", "dry_run = true\n")):
        service.configure(f'{dry}[firewall]\ntable = "{table}"')
        if stopped:
            service.stop()
            service.start()
        else:
            service.reload(" started: ")
        assert tables(network) == ([] if dry else [table])
        assert is_served(network.server, network.attacker, ATTACKER4) == bool(dry)
    service.configure('[firewall]\ntable = "fourth"')
    service.reload(" started: ")
    assert tables(network) == ["fourth"]
    assert not is_served(network.server, network.attacker, ATTACKER4)
    assert service.run("unban", ATTACKER4).returncode == 0
    assert is_served(network.server, network.attacker, ATTACKER4)


@pytest.mark.parametrize("dry", [False, True])
def test_a_table_of_another_program_is_never_deleted(network, service, dry):
    """Neither when the database names it as the former one, nor when a dry run has its name."""
    service.start()
    service.stop()
    network.server.nft("table inet theirs {\n set ban4 { type ipv4_addr; }\n chain input {\n }\n}")
    theirs = network.server.run("nft", "list", "table", "inet", "theirs")
    if dry:
        service.configure('dry_run = true\n[firewall]\ntable = "theirs"')
    else:
        with contextlib.closing(sqlite3.connect(service.state)) as state, state:
            state.execute("UPDATE meta SET value = 'theirs' WHERE name = 'table'")
    service.start()
    assert network.server.run("nft", "list", "table", "inet", "theirs") == theirs
    assert "table inet theirs does not hold the sets of this daemon" in service.said()
    assert ("xmlrpc_blocker" in tables(network)) != dry


def saved(network):
    """Return the ruleset as `nft -f` takes it, with a flush in front."""
    return "flush ruleset\n" + network.server.run("nft", "list", "ruleset")


def test_a_ruleset_that_was_saved_before_an_unban_makes_no_ban(network, service):
    """Loaded again, as `systemctl restart nftables` does: who was unbanned is unbanned at once."""
    service.start()
    attack(service, ATTACKER4, ATTACKER6)
    service.until_blocked(ATTACKER4, ATTACKER6)
    before = saved(network)
    assert service.run("unban", ATTACKER4).returncode == 0
    network.server.nft(before)
    wait_for(lambda: service.left(ATTACKER4) is None, "the address to be unbanned", patience=1)
    assert is_served(network.server, network.attacker, ATTACKER4)
    assert service.left(ATTACKER6)
    wait_for(
        lambda: service.metrics()['xmlrpc_blocker_set_drift_elements{family="ipv4"}'] == 1,
        "the drift",
    )
    assert "removing 1 unknown bans from the kernel" in service.said()


def test_unban_acts_on_what_the_kernel_alone_holds(network, service):
    """An address that another program put into the set is unbanned by name, and by --all."""
    service.start()
    service.until(bans=0)
    add = "add element inet xmlrpc_blocker ban4 {{ {} timeout 1h }}\n".format
    service.process.send_signal(signal.SIGSTOP)
    network.server.nft(add(ATTACKER4))
    assert service.left(ATTACKER4)
    command = subprocess.Popen(service.command("unban", ATTACKER4), stdout=subprocess.DEVNULL)
    service.process.send_signal(signal.SIGCONT)
    assert command.wait(PATIENCE) in {0, 4}
    wait_for(lambda: service.left(ATTACKER4) is None, "the address to be unbanned")
    network.server.nft(add("198.18.0.9") + add("198.18.0.8"))
    assert service.run("unban", "--all").returncode == 0
    assert service.left("198.18.0.9") is service.left("198.18.0.8") is None
    assert service.run("unban", "198.18.0.9").returncode == 4


def test_unban_all_beside_a_daemon_that_reloads_never_goes_alone(service):
    """Twelve times a ban, a reload and the command at any moment of it: no address stays banned."""
    service.start()
    for turn in range(12):
        attacker = f"198.18.{turn}.1"
        attack(service, attacker)
        service.until_blocked(attacker)
        command = subprocess.Popen(
            service.command("unban", "--all"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        moment = time.monotonic() + turn * 0.012
        wait_for(lambda at=moment: time.monotonic() >= at, "the moment")
        service.reload(" started: ")
        said, warned = command.communicate(timeout=PATIENCE)
        assert (command.returncode, warned) == (0, b""), warned
        assert said.startswith(b"unbanned everybody (")
        assert service.bans() == {}
        assert service.left(attacker) is None


def test_commands_are_answered_during_reloads(service):
    """Status, ban and unban while one reload follows the other: none fails."""
    service.start()
    for turn in range(5):
        service.process.send_signal(signal.SIGHUP)
        for words in (("status",), ("ban", f"198.18.0.{turn}"), ("unban", f"198.18.0.{turn}")):
            done = service.run(*words)
            assert done.returncode == 0, (words, done.stderr)


def test_scrapes_are_answered_during_reloads(service):
    """No connection is refused, and no other process gets the port meanwhile."""
    service.start()
    for _ in range(5):
        service.process.send_signal(signal.SIGHUP)
        for _ in range(5):
            assert service.metrics()["xmlrpc_blocker_config_last_reload_successful"] == 1
    service.configure('[metrics]\nlisten = ""')
    service.reload(" started: ")
    with pytest.raises(AssertionError, match="Failed to connect"):
        service.metrics()


def test_unban_all_beside_a_daemon_that_can_not_be_reached_changes_nothing(service):
    """It runs and does not answer: exit code 3, and what to do; then it answers again."""
    service.start()
    attack(service, ATTACKER4)
    service.until_blocked(ATTACKER4)
    service.socket.rename(service.directory / "elsewhere.sock")
    done = service.run("unban", "--all")
    assert done.returncode == 3
    assert f"(process {service.process.pid}) is running and does not answer" in done.stderr
    assert "stop it first" in done.stderr
    assert service.left(ATTACKER4)
    (service.directory / "elsewhere.sock").rename(service.socket)
    assert service.run("unban", "--all").returncode == 0
    assert service.left(ATTACKER4) is None


def test_unban_all_with_a_broken_configuration_leaves_a_living_daemon_alone(service):
    """It runs, and the file no longer says where: exit code 3, and its table stays."""
    service.start()
    attack(service, ATTACKER4)
    service.until_blocked(ATTACKER4)
    service.config.write_text("x = [")
    done = service.run("unban", "--all")
    assert (done.returncode, done.stdout) == (3, "")
    assert f"(process {service.process.pid}, state {service.state})" in done.stderr
    assert service.left(ATTACKER4)
    service.config.write_text(f"control = '{service.socket}'\nx = [")
    assert service.run("unban", "--all").stdout == "unbanned everybody (1)\n"
    assert service.left(ATTACKER4) is None


def test_unban_all_with_a_broken_configuration_finds_state_and_table(network, service):
    """Without a daemon, what the file still names is emptied and deleted."""
    service.configure('[firewall]\ntable = "mine"')
    service.start()
    attack(service, ATTACKER4)
    service.until(active_bans=1)
    service.stop()
    service.configure('[firewall]\ntable = "mine"\nports = 80')
    done = service.run("unban", "--all")
    assert done.stdout == "unbanned everybody (1); table mine deleted\n", done.stderr
    assert ruleset(network) == ""


def test_a_second_daemon_on_the_same_state_does_not_start(network, service, tmp_path):
    """With a socket of its own it is refused by the lock, with the process that holds it."""
    service.start()
    with daemon(network.server, tmp_path) as second:
        second.socket = tmp_path / "second.sock"
        second.config = tmp_path / "second.toml"
        second.configure('[metrics]\nlisten = ""')
        done = second.run("run")
    assert done.returncode == 1
    assert f"process {service.process.pid} works with this state; stop it first" in done.stderr
    assert not second.socket.exists()


def test_a_file_at_the_place_of_a_socket_is_left_alone(service):
    """It is an error that says what to do, and the file stays as it is."""
    precious = service.directory / "precious.txt"
    precious.write_text("years of work")
    service.socket = precious
    service.configure()
    done = service.run("run")
    assert done.returncode == 1
    assert f"{precious}: is not a socket; name another path" in done.stderr
    assert precious.read_text() == "years of work"


# Reload ----------------------------------------------------------------------------------------


def test_a_reload_takes_the_new_configuration(network, service):
    """After SIGHUP another maxretry counts, bans stand, and the process is the same."""
    service.start()
    attack(service, ATTACKER4)
    service.until_blocked(ATTACKER4)
    service.configure("[trap.xmlrpc]\nmaxretry = 5\n")
    service.reload(" started: ")
    assert not is_served(network.server, network.attacker, ATTACKER4)
    patient = strangers(1)[0]
    attack(service, patient, times=4)
    service.until(hits=7)
    assert set(service.bans()) == {ATTACKER4}
    attack(service, patient, times=1)
    service.until_blocked(patient)
    service.until(pid=service.process.pid)
    assert service.metrics()["xmlrpc_blocker_config_last_reload_successful"] == 1


@pytest.mark.parametrize("mistake", ["maxretri = 5", "[trap.xmlrpc]\nmaxretry = 0", "[["])
def test_a_bad_configuration_is_refused(service, mistake):
    """The old configuration stays, stderr and a metric say so, and a good one mends it."""
    service.start()
    service.configure(mistake)
    service.reload("reload refused, the old configuration stays: ")
    assert str(service.config) in service.said()
    assert service.metrics()["xmlrpc_blocker_config_last_reload_successful"] == 0
    attack(service, ATTACKER4)
    service.until_blocked(ATTACKER4)
    service.configure()
    service.reload(" started: ")
    assert service.metrics()["xmlrpc_blocker_config_last_reload_successful"] == 1


def test_a_configuration_that_can_not_live_gives_way(network, service):
    """If the next life can't begin, the one before goes on, and the metric shows it."""
    service.start()
    attack(service, ATTACKER4)
    service.until_blocked(ATTACKER4)
    good = service.config.read_text()
    service.config.write_text(good.replace(str(service.state), "/proc/nowhere/state.db"))
    service.reload(" started: ")
    assert "the new configuration can't be used, keeping the old one" in service.said()
    assert service.metrics()["xmlrpc_blocker_config_last_reload_successful"] == 0
    assert not is_served(network.server, network.attacker, ATTACKER4)
    assert set(service.bans()) == {ATTACKER4}


@pytest.fixture
def lists(service, tmp_path):
    """Where lists are refreshed to, in an /etc that the daemon alone sees; it is started."""
    directory = tmp_path / "etc/xmlrpc-blocker/lists"
    directory.mkdir(parents=True)
    script = f'mount --bind "{tmp_path}/etc" /etc && exec "$@"'
    service.start(before=("unshare", "--mount", "--propagation=private", "sh", "-c", script, "-"))
    return directory


def test_a_damaged_list_is_refused(network, service, lists):
    """The reload says so, bans and old lists stay at work; with it gone, a reload works again."""
    attack(service, ATTACKER4)
    service.until_blocked(ATTACKER4)
    damaged = lists / "fastly.txt"
    damaged.write_text("# name: fastly\n151.101.0.0/1")
    service.reload("reload refused, the old configuration stays: ")
    assert f"/etc/xmlrpc-blocker/lists/{damaged.name}: " in service.said()
    assert service.process.poll() is None
    assert service.metrics()["xmlrpc_blocker_config_last_reload_successful"] == 0
    assert not is_served(network.server, network.attacker, ATTACKER4)
    attack(service, ATTACKER6, "151.101.1.1")
    service.until_blocked(ATTACKER6)
    service.until(friends=3)
    damaged.unlink()
    service.reload(" started: ")
    assert set(service.bans()) == {ATTACKER4, NETWORK6}
    assert service.metrics()["xmlrpc_blocker_config_last_reload_successful"] == 1


def test_a_list_that_can_not_be_read_is_refused(service, lists):
    """What is no file at all is as bad as a damaged one."""
    (lists / "fastly.txt").mkdir()
    service.reload("reload refused, the old configuration stays: ")
    assert "lists/fastly.txt: Is a directory" in service.said()
    attack(service, ATTACKER4)
    service.until_blocked(ATTACKER4)


def test_the_life_before_begins_again_with_the_lists_it_had(service, lists):
    """A list that was refreshed goes again with the configuration that could not live."""
    good = lists / "sucuri.txt"
    header = "# name: sucuri\n# title: x\n# source: x\n# date: x\n# kind: proxy\n"
    good.write_text(f"{header}{ATTACKER4}\n")
    text = service.config.read_text()
    service.config.write_text(text.replace(str(service.state), "/proc/nowhere/state.db"))
    service.reload(" started: ")
    assert "the new configuration can't be used, keeping the old one" in service.said()
    attack(service, ATTACKER4)
    service.until_blocked(ATTACKER4)


# The ruleset -----------------------------------------------------------------------------------


def test_a_flushed_ruleset_comes_back(network, service):
    """After an ``nft flush ruleset`` the bans are back, with the time they had left."""
    service.start()
    attack(service, ATTACKER4)
    service.until_blocked(ATTACKER4)
    done = service.run("ban", ATTACKER6, "--for", "2h")
    assert done.returncode == 0
    before = {who: service.left(who) for who in (ATTACKER4, ATTACKER6)}
    network.server.nft("flush ruleset")
    service.until_blocked(ATTACKER4, ATTACKER6)
    for who, left in before.items():
        assert left - 60 < service.left(who) <= left
    assert not is_served(network.server, network.attacker, ATTACKER4)
    assert not is_served(network.server, network.attacker, ATTACKER6)
    assert service.metrics()["xmlrpc_blocker_ruleset_rebuilds_total"] == 1


def test_a_seized_table_is_not_taken_for_rebuilt(network, service):
    """What another program owns can't be built again: that is reported, and counted as a gap."""
    service.start()
    words = network.server.command("nft", "-i")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as thief:
        name = "table inet xmlrpc_blocker"
        thief.stdin.write(f"delete {name}; add {name} {{ flags owner; }}\n".encode())
        thief.stdin.flush()
        tries = 'xmlrpc_blocker_nft_failures_total{operation="load"}'
        wait_for(lambda: service.metrics()[tries] > 1, "a second try")
        seized = service.metrics()
    wait_for(lambda: "ruleset restored" in service.said(), "the table after its owner has ended")
    assert seized["xmlrpc_blocker_ruleset_present"] == 0
    assert seized["xmlrpc_blocker_ruleset_rebuilds_total"] == 0
    assert service.metrics()["xmlrpc_blocker_ruleset_rebuilds_total"] == 1
    assert service.said().count("another program changed the ruleset") == 1


def test_a_removed_ban_comes_back_and_a_foreign_one_goes(network, service):
    """A deleted element is put back; one that the daemon did not make goes at a start."""
    service.start()
    attack(service, ATTACKER4)
    service.until_blocked(ATTACKER4)
    network.server.nft(f"delete element inet xmlrpc_blocker ban4 {{ {ATTACKER4} }}")
    service.until_blocked(ATTACKER4)
    service.stop()
    network.server.nft(f"add element inet xmlrpc_blocker ban4 {{ {NEIGHBOUR4} }}")
    service.start()
    wait_for(lambda: service.left(NEIGHBOUR4) is None, "the foreign ban to go")
    assert service.left(ATTACKER4)


def test_bans_expire_by_themselves(network, service):
    """A ban of a moment ends in the kernel, and the book agrees."""
    service.start()
    assert service.run("ban", ATTACKER4, "--for", "1s").returncode == 0
    wait_for(lambda: is_served(network.server, network.attacker, ATTACKER4), "the end of the ban")
    wait_for(lambda: service.status()["active_bans"] == 0, "the end of the ban in the book")
    assert service.bans() == {}


# Who is not banned -----------------------------------------------------------------------------


def test_a_friend_is_never_banned(network, service):
    """An allowed address may attack as it likes: it is served, and its hits count apart."""
    service.configure(f'allow = ["{ATTACKER4}"]')
    service.start()
    attack(service, ATTACKER4, "10.1.2.3", "198.51.100.1", times=10)
    attack(service, ATTACKER6)
    service.until_blocked(ATTACKER6)
    service.until(friends=30, hits=3, bans=1)
    assert set(service.bans()) == {NETWORK6}
    assert is_served(network.server, network.attacker, ATTACKER4)


def test_a_dry_run_makes_no_ban(network, service):
    """It judges and logs, takes the table down, and never enforces those bans later."""
    service.start()
    attack(service, ATTACKER4)
    service.until_blocked(ATTACKER4)
    service.until(bans=1)
    service.stop()
    service.configure("dry_run = true")
    service.start()
    assert ruleset(network) == ""
    assert is_served(network.server, network.attacker, ATTACKER4)
    assert service.bans()[ATTACKER4]["enforced"] is False
    attack(service, ATTACKER6)
    wait_for(lambda: f"would ban {NETWORK6}" in service.said(), "what it would do")
    assert ruleset(network) == ""
    assert is_served(network.server, network.attacker, ATTACKER6)
    service.stop()
    service.configure()
    service.start()
    assert service.left(ATTACKER4)
    assert service.left(ATTACKER6) is None
    assert set(service.bans()) == {ATTACKER4}


def test_without_the_capability_it_says_what_is_missing(service):
    """Without CAP_NET_ADMIN it ends with 5 and advice, and leaves no socket behind."""
    words = ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")
    assert service.launch(before=words).wait(PATIENCE) == 5
    assert "CAP_NET_ADMIN" in service.said()
    assert "Traceback" not in service.said()
    assert not service.socket.exists()


# The service manager ---------------------------------------------------------------------------


class Manager:
    """What a service manager hears, on a real socket."""

    def __init__(self, path):
        self.path = str(path)
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ear.bind(self.path)
        self.ear.settimeout(PATIENCE)

    def hear(self, word):
        """Return the message with this word, and all before it."""
        heard = [self.ear.recv(4096).decode()]
        while word not in heard[-1].splitlines() and not heard[-1].startswith(word):
            heard.append(self.ear.recv(4096).decode())
        return heard


def test_the_service_manager_is_notified(service, tmp_path):
    """READY when everybody due is blocked, then WATCHDOG and STATUS, RELOADING, and STOPPING."""
    manager = Manager(tmp_path / "notify")
    with manager.ear:
        service.launch(NOTIFY_SOCKET=manager.path)
        assert "STATUS=0 banned" in manager.hear("READY=1")[-1]
        assert "STATUS=" in manager.hear("WATCHDOG=1")[-1]
        service.process.send_signal(signal.SIGHUP)
        stamp = manager.hear("RELOADING=1")[-1].splitlines()[1].removeprefix("MONOTONIC_USEC=")
        assert 0 <= time.clock_gettime(time.CLOCK_MONOTONIC) - int(stamp) / 1e6 < PATIENCE
        manager.hear("READY=1")
        service.configure("nonsense = 1")
        service.process.send_signal(signal.SIGHUP)
        manager.hear("RELOADING=1")
        assert "reload refused" in manager.hear("READY=1")[-1]
        service.process.send_signal(signal.SIGTERM)
        manager.hear("STOPPING=1")
        assert service.process.wait(PATIENCE) == 0


# Rotation --------------------------------------------------------------------------------------


def shift(log, count=9):
    """Make room for a rotated file, as logrotate does: 1 becomes 2, and so on."""
    for number in range(count, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.rename(log.with_name(f"{log.name}.{number + 1}"))
    return log.with_name(f"{log.name}.1")


def rename(log, last_words):
    """Rotate by renaming; the writer, who learns of it later, goes on writing for a while."""
    with log.open("a", buffering=1) as writer:
        log.rename(shift(log))
        writer.writelines(last_words)
    log.touch()


def copytruncate(log, last_words):
    """Rotate by copying and truncating, with a writer whose lines are in time for the copy."""
    write(log, *last_words)
    shutil.copy2(log, shift(log))
    os.truncate(log, 0)


@pytest.mark.parametrize("rotate", [rename, copytruncate])
@pytest.mark.parametrize("unread", [False, True])
def test_rotation_under_attack_loses_no_hit(service, rotate, unread):
    """However much of a log was read when it was rotated, each of its lines counts once."""
    attack(service, *strangers(1), times=1)
    service.start()
    service.until(hits=1)
    written = 1
    for _ in range(5):
        write(service.log, *(line(who) for who in strangers(100, written)))
        if not unread:
            service.until(hits=written + 100)
        rotate(service.log, [line(who) for who in strangers(100, written + 100)])
        written += 200
    attack(service, ATTACKER4)
    service.until_blocked(ATTACKER4)
    service.until(lines=written + 3, hits=written + 3)


def test_rotation_while_stopped_loses_no_hit(service):
    """What was rotated and packed while no daemon ran is found and judged at the next start."""
    service.start()
    write(service.log, *(line(who) for who in strangers(10)))
    service.until(hits=10)
    service.stop()
    write(service.log, *(line(who) for who in strangers(10, 10)))
    packed = service.log.rename(service.directory / "access.log.1")
    subprocess.run(["gzip", packed], check=True)
    write(service.log, *(line(who) for who in strangers(10, 20)))
    service.start()
    service.until(hits=30, lines=30)


def as_json(text):
    """Return a line of a log as an object of the same fields."""
    found = re.fullmatch(r'(\S+) - - \[(.+?)\] "(.+?)" .*\n', text)
    keys = "remote_addr", "time_local", "request"
    return json.dumps(dict(zip(keys, found.groups(), strict=True)))[:-1] + ', "agent": "-"}\n'


@pytest.mark.parametrize("form", [str, as_json])
def test_long_lines_and_holes_hide_no_hit(service, form):
    """Each is judged once, by its beginning: while it grows, after restarts, rotated and packed."""
    service.start()
    who = strangers(4)
    lines = [form(line(each, request="POST /xmlrpc.php?x HTTP/1.1")) for each in who]
    write(service.log, lines[0], lines[1].rstrip('"}\n'), "x" * (3 << 20))
    service.until(lines=1)
    service.stop()
    write(service.log, "\n", "\0" * (5 << 20), lines[2])
    service.start()
    service.until(hits=3, lines=3, unparsed=0)
    service.stop()
    write(service.log, "\0" * (5 << 20), lines[3][:-1].rstrip('"}'), "x" * (3 << 20), "\n")
    subprocess.run(["gzip", service.log.rename(service.directory / "access.log.1")], check=True)
    write(service.log, form(line(NEIGHBOUR4, request="GET / HTTP/1.1")))
    service.start()
    service.until(hits=4, lines=5, unparsed=0)
    series = f'xmlrpc_blocker_oversize_lines_total{{log="{service.log}"}}'
    assert service.metrics()[series] == 2
    replayed = json.loads(service.run("replay", "-o", "json", f"{service.log}.1.gz").stdout)
    assert (replayed["lines"], replayed["hits"], replayed["unparsed"]) == (4, 4, 0)
    verdicts = service.run("explain", "-o", "csv", f"{service.log}.1.gz").stdout.splitlines()[1:]
    assert [f",hit,path and method match,xmlrpc,{each}," in verdict
            for each, verdict in zip(who, verdicts, strict=True)] == [True] * 4  # fmt: skip


def test_the_time_of_the_last_hit_survives_restarts(netns, tmp_path):
    """In the status and the metrics, over any number of restarts, kills and rotations."""
    with daemon(netns, tmp_path) as service:
        service.start()
        write(service.log, line(ATTACKER4))
        service.until(hits=1)
        series = f'xmlrpc_blocker_log_last_hit_timestamp_seconds{{log="{service.log}"}}'

        def reported():
            (row,) = service.status()["logs"]
            return row["last_event"], service.metrics()[series]

        before = reported()
        assert before[0] is not None
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            service.stop(number)
            service.start()
            assert reported() == before
        service.log.rename(tmp_path / "access.log.1")
        for count in (1, 2):
            lines = service.status()["lines"]
            write(service.log, line(ATTACKER4, request="GET / HTTP/1.1"))
            service.until(lines=lines + 1)
            service.stop()
            service.start()
            assert reported() == before, count


# Rewritten logs --------------------------------------------------------------------------------

TRIMS = {
    "sed -i": "sed -i 1,20d access.log",
    "tail and mv": "tail -n 300 access.log >x && mv x access.log",
    "tail and cat": "tail -n 300 access.log >x && cat x >access.log",
    "anonymising": "sed -i '1,20s/^[0-9.]*/xxx.xxx.xxx.xxx/' access.log",
}


@pytest.mark.parametrize("trim", TRIMS.values(), ids=list(TRIMS))
@pytest.mark.parametrize("stopped", [False, True])
def test_one_attack_in_a_log_that_is_trimmed_is_one_hit(service, trim, stopped):
    """Twice, under a running daemon and while it is stopped; the next two attacks make a ban."""
    other = [line("192.0.2.9", request=f"GET /{n} HTTP/1.1") for n in range(350)]
    service.start()
    write(service.log, *other[:300], line(ATTACKER4), *other[300:])
    service.until(hits=1, lines=351)
    for turn in range(2):
        if stopped:
            service.stop()
        subprocess.run(["sh", "-c", trim], check=True, cwd=service.directory)
        if stopped:
            service.start()
        write(service.log, line("192.0.2.9", request=f"GET /after-{turn} HTTP/1.1"))
        service.until(lines=352 + turn)
    assert service.status()["hits"] == 1
    attack(service, ATTACKER4, times=2)
    service.until(hits=3, lines=355)
    service.until_blocked(ATTACKER4)
