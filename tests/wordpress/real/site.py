"""A real WordPress in a network namespace: MariaDB, PHP's FPM, nginx, and the syslog of its PHP.

All processes belong to the test and have directories of their own.  FPM has one worker: requests
are answered one after the other, so a line that was written before another also arrives first.
"""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from support.daemons import wait_for
from support.namespaces import Namespace, namespace

HERE = Path(__file__).parent
PLUGIN = HERE.parents[2] / "packaging/wordpress/xmlrpc-blocker.php"
HOST, BLOG = "198.18.1.1", "198.18.1.2"
"""The site, and another one that links to it."""
HOST6, CLIENT6 = "2001:db8:7::1", "2001:db8:7::9"
ADDRESSES = "198.18.0.0/24", f"{HOST}/32", f"{BLOG}/32", f"{HOST6}/128", f"{CLIENT6}/128"
"""Of the loopback interface, where every address of an IPv4 network is the host's own."""
PATIENCE = 60.0

DATABASE = """\
CREATE DATABASE wordpress;
CREATE USER wordpress@localhost IDENTIFIED BY 'database';
GRANT ALL ON wordpress.* TO wordpress@localhost;
"""
# open_basedir hides /dev/log from PHP's file functions, as on many hosts; syslog() works.
FPM = """\
[global]
daemonize = no
error_log = {directory}/fpm.log
[www]
user = www-data
group = www-data
listen = {directory}/fpm.sock
listen.mode = 0666
pm = static
pm.max_children = 1
php_admin_value[open_basedir] = {directory}/site:{directory}/tmp
php_admin_value[upload_tmp_dir] = {directory}/tmp
"""
# /dev/log is the test's socket, for FPM only.
WITH_SYSLOG = """\
set -e
mkdir {directory}/dev
for each in null zero random urandom; do
    touch {directory}/dev/$each
    mount --bind /dev/$each {directory}/dev/$each
done
ln -s {directory}/log {directory}/dev/log
mount --rbind {directory}/dev /dev
exec "$@"
"""
NGINX = """\
daemon off;
user www-data;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.error;
events {{ worker_connections 64; }}
http {{
    access_log {directory}/access.log;
    client_max_body_size 8m;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    types {{ text/html html; }}
    server {{
        listen {host}:80;
        listen [{host6}]:80;
        root {directory}/site;
        index index.php;
        location / {{ try_files $uri $uri/ /index.php?$args; }}
        location ~ \\.php$ {{
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
            fastcgi_pass unix:{directory}/fpm.sock;
        }}
    }}
    server {{
        listen {blog}:80;
        root {directory}/blog;
    }}
}}
"""


class Site:
    """WordPress at work, and what its PHP wrote to syslog."""

    def __init__(self, home: Namespace, directory: Path, facts: dict, log: socket.socket) -> None:
        self.home = home
        self.directory = directory
        self.facts = facts
        """Of the installation: ids of posts, an application password."""
        self._log = log

    def datagram(self) -> str:
        """Return the next message to syslog."""
        return self._log.recv(65536).decode("ascii")


@contextlib.contextmanager
def wordpress(unpacked: Path) -> Iterator[Site]:
    """Install the WordPress of an unpacked package with the plugin, and run it."""
    directory = Path(tempfile.mkdtemp(prefix="wordpress."))
    directory.chmod(0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        home = stack.enter_context(namespace())
        for address in ADDRESSES:
            home.run("ip", "address", "add", address, "dev", "lo")
        log = stack.enter_context(_syslog(home, directory))
        stack.enter_context(_database(home, directory))
        _lay(unpacked, directory)
        facts = _install(home, directory)
        stack.enter_context(_php(home, directory))
        stack.enter_context(_nginx(home, directory))
        yield Site(home, directory, facts, log)


@contextlib.contextmanager
def _syslog(home: Namespace, directory: Path) -> Iterator[socket.socket]:
    home.run("sh", "-c", "echo 512 >/proc/sys/net/unix/max_dgram_qlen")
    with home.inside():
        log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with log:
        log.bind(str(directory / "log"))
        (directory / "log").chmod(0o666)
        log.settimeout(PATIENCE)
        yield log


@contextlib.contextmanager
def _process(
    home: Namespace, directory: Path, words: list[str], ready: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process until its socket or its file is there, and end it with the block."""
    said = directory / f"{ready.name}.said"
    with said.open("wb") as messages:
        process = subprocess.Popen(
            home.command(*words), stdout=messages, stderr=messages, cwd=directory
        )
    try:
        what = f"{words[0]} to be ready"
        wait_for(lambda: process.poll() is not None or ready.exists(), what, patience=PATIENCE)
        assert process.poll() is None, said.read_text(errors="replace")
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


@contextlib.contextmanager
def _database(home: Namespace, directory: Path) -> Iterator[None]:
    place = f"--datadir={directory}/database"
    install = ("mariadb-install-db", "--no-defaults", "--user=root", "--skip-test-db", place)
    subprocess.run(install, check=True, capture_output=True)
    (directory / "database.sql").write_text(DATABASE)
    words = [
        *("/usr/sbin/mariadbd", "--no-defaults", "--user=root", place, "--skip-networking"),
        *(f"--socket={directory}/database.sock", f"--init-file={directory}/database.sql"),
        *(f"--pid-file={directory}/database.pid", "--innodb-flush-log-at-trx-commit=0"),
        *("--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M"),
    ]
    server = f"null, 'wordpress', 'database', 'wordpress', 0, '{directory}/database.sock'"
    connect = ("php", "-r", f"mysqli_connect({server});")
    with _process(home, directory, words, directory / "database.sock"):
        wait_for(
            lambda: subprocess.run(connect, check=False, capture_output=True).returncode == 0,
            "the database to know WordPress' user",
            patience=PATIENCE,
        )
        yield


def _lay(unpacked: Path, directory: Path) -> None:
    """Put WordPress, its configuration and its must-use plugins into the site's directory."""
    site = directory / "site"
    shutil.copytree(unpacked / "usr/share/wordpress", site, ignore_dangling_symlinks=True)
    shutil.copyfile(HERE / "wp-config.php", site / "wp-config.php")
    must_use = site / "wp-content/mu-plugins"
    must_use.mkdir()
    shutil.copyfile(PLUGIN, must_use / PLUGIN.name)
    shutil.copyfile(HERE / "a-site-for-tests.php", must_use / "a-site-for-tests.php")
    (directory / "tmp").mkdir()
    for path in (site / "wp-content/uploads", directory / "tmp"):
        path.mkdir(exist_ok=True)
        shutil.chown(path, "www-data", "www-data")
    blog = directory / "blog"
    blog.mkdir()


def _install(home: Namespace, directory: Path) -> dict:
    words = home.command("php", str(HERE / "install.php"), str(directory / "site"), HOST)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    links = "".join(f'<p>See <a href="{target}">a post</a></p>' for target in targets(facts))
    pages = {
        "links.html": f"<html><title>A blog</title><body>{links}</body></html>",
        "no-title.html": f"<html><body>{links}</body></html>",
        "no-link.html": "<html><title>A blog</title><body>no link</body></html>",
    }
    for name, text in pages.items():
        (directory / "blog" / name).write_text(text)
    return facts


def targets(facts: dict) -> list[str]:
    """Return the addresses of the posts."""
    return [f"http://{HOST}/?p={post}" for post in facts["posts"]]


@contextlib.contextmanager
def _php(home: Namespace, directory: Path) -> Iterator[None]:
    config = directory / "fpm.conf"
    config.write_text(FPM.format(directory=directory))
    (fpm, *_) = (path for path in sorted(Path("/usr/sbin").glob("php-fpm[0-9]*")))
    script = WITH_SYSLOG.format(directory=directory)
    words = [
        *("unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh"),
        *(str(fpm), "--nodaemonize", "--fpm-config", str(config)),
    ]
    with _process(home, directory, words, directory / "fpm.sock"):
        yield


@contextlib.contextmanager
def _nginx(home: Namespace, directory: Path) -> Iterator[None]:
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(directory=directory, host=HOST, host6=HOST6, blog=BLOG))
    words = ["nginx", "-p", str(directory), "-c", str(config)]
    with _process(home, directory, words, directory / "nginx.pid"):
        yield


LINE = re.compile(
    r"<85>[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d wordpress\[\d+\]: xmlrpc-blocker: "
    r"addr=(\S+) n=(\d+) event=([a-z]+)((?: [a-z]+=(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+)+)"
)
"""authpriv (10) and notice (5): 10 * 8 + 5 = 85."""
