"""The commands of docs/wordpress.md, run as they stand there, in a directory of the test's own."""

import re
import subprocess

import pytest
from support.namespaces import permitted
from wordpress.played import PLUGIN, ROOT

PAGE = (ROOT / "docs/wordpress.md").read_text()


def commands(title):
    """Return the shell commands below a heading."""
    return re.search(rf"### {title}\n.*?```sh\n(.*?)```", PAGE, re.DOTALL)[1]


def run(title, root):
    """Run the commands of a heading with all places below a directory."""
    packaged = root / "usr/share/xmlrpc-blocker/wordpress/xmlrpc-blocker.php"
    packaged.parent.mkdir(parents=True)
    packaged.write_text(PLUGIN.read_text())
    script = re.sub(r"(?<![\w$\"}])/(?=(usr|var)/)", f"{root}/", commands(title))
    subprocess.run(["sh", "-euc", script], check=True)


@pytest.mark.parametrize(
    ("title", "place"),
    [
        ("Debian's package wordpress", "var/lib/wordpress/wp-content/mu-plugins"),
        ("One site", "var/www/html/wp-content/mu-plugins"),
    ],
)
def test_one_command_installs_it(title, place, tmp_path):
    """The directory is made if there is none, and the file is readable for the web server."""
    run(title, tmp_path)
    copy = tmp_path / place / "xmlrpc-blocker.php"
    assert copy.read_bytes() == PLUGIN.read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o644
    assert not copy.is_symlink()


@pytest.mark.skipif(not permitted(), reason="needs root: runuser")
def test_one_loop_installs_it_for_many_sites(tmp_path):
    """Each site that holds WordPress gets a copy; other directories stay as they are."""
    for site in ("a.example/htdocs", "b c.example/public_html"):
        (tmp_path / "var/www" / site / "wp-content").mkdir(parents=True)
        (tmp_path / "var/www" / site / "wp-includes").mkdir()
        (tmp_path / "var/www" / site / "wp-includes/version.php").touch()
    (tmp_path / "var/www/static.example/htdocs").mkdir(parents=True)
    run("Many sites of one host", tmp_path)
    copies = sorted((tmp_path / "var").rglob("xmlrpc-blocker.php"))
    assert [str(path.relative_to(tmp_path)) for path in copies] == [
        "var/www/a.example/htdocs/wp-content/mu-plugins/xmlrpc-blocker.php",
        "var/www/b c.example/public_html/wp-content/mu-plugins/xmlrpc-blocker.php",
    ]
