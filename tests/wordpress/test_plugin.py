"""The must-use plugin in plain PHP: what it reports, and that it changes nothing else."""

import hashlib
import hmac
import re
import subprocess

import pytest
from wordpress.played import CLIENT, PLUGIN, SECRETS, USERS, Site, lines, request

from blocker import __version__

BEGIN = f"xmlrpc-blocker: addr={CLIENT}"
LINE = re.compile(
    r"xmlrpc-blocker: addr=[0-9a-fA-F:.]+ n=[1-9][0-9]{0,5} event=[a-z]+"
    r"(?: [a-z]+=(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+)+"
)
"""The whole form of a line."""


def tag(name, password, key="key of the sitesalt of the site"):
    """Return the two digits of a guess, as another program computes them."""
    return hmac.new(key.encode(), f"{name}\0{password}".encode(), hashlib.sha256).hexdigest()[:2]


def php(text):
    """Return a text as a literal of PHP."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def test_php_finds_no_error_in_it():
    """The file is valid for this PHP, and names the version of the package."""
    subprocess.run(["php", "-n", "-l", PLUGIN], capture_output=True, check=True)
    assert f"* Version: {__version__}\n" in PLUGIN.read_text()


def test_it_does_nothing_when_a_browser_asks_for_it():
    """Called by its own URL, without WordPress, it prints nothing and fails nowhere."""
    words = ["php", "-n", "-d", "display_errors=1", PLUGIN]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_wrong_password_is_one_line():
    """It names the address, the user who exists, and two digits that stand for the guess."""
    expected = f"{BEGIN} n=1 event=login via=xmlrpc try={tag('admin', 'guess')} user=admin"
    assert lines("xmlrpc()->login('admin', 'guess');") == [expected]


def test_a_right_password_is_no_line():
    """Calls that log in are not reported."""
    assert lines("xmlrpc()->login('admin', 'right');") == []


def test_an_unknown_name_is_not_written():
    """What is typed as a name is often a password."""
    (line,) = lines("xmlrpc()->login('hunter2', 'x');")
    assert line.endswith(f" try={tag('hunter2', 'x')} user=-")


def test_a_mail_address_is_written_as_the_name_of_its_user():
    """WordPress logs in by mail address, too."""
    site = Site(mails={"a@example.org": "admin"})
    (line,) = lines("xmlrpc()->login('a@example.org', 'x');", site)
    assert line.endswith(f" try={tag('a@example.org', 'x')} user=admin")


@pytest.mark.parametrize("words", ["'', ''", "'admin', ''", "'', 'x'"])
def test_empty_fields_are_reported_over_xmlrpc(words):
    """WordPress' action wp_login_failed says nothing of them, its filter does."""
    assert len(lines(f"xmlrpc()->login({words});")) == 1


def test_a_multicall_of_500_guesses_is_two_lines():
    """The first one at once, the rest at the end; WordPress checks only the first password."""
    assert lines("$s = xmlrpc(); for ($i = 0; $i < 500; $i++) $s->login('admin', \"p$i\");") == [
        f"{BEGIN} n=1 event=login via=xmlrpc try={tag('admin', 'p0')} user=admin",
        f"{BEGIN} n=499 event=login via=xmlrpc try=- user=-",
    ]


def test_a_multicall_that_first_has_the_right_password():
    """The success is not reported, the failures behind it are."""
    scenario = "$s = xmlrpc(); foreach (['right', 'a', 'b', 'c'] as $p) $s->login('admin', $p);"
    assert lines(scenario) == [
        f"{BEGIN} n=1 event=login via=xmlrpc try={tag('admin', 'a')} user=admin",
        f"{BEGIN} n=2 event=login via=xmlrpc try=- user=-",
    ]


def test_only_the_first_guess_of_a_multicall_has_digits():
    """Digits of a check belong to one failure: the next one, which was not checked, has none."""
    scenario = "$s = xmlrpc(); $s->login('admin', 'a'); $s->login('admin', 'a');"
    first, second = lines(scenario)
    assert f"try={tag('admin', 'a')} " in first
    assert second.endswith("n=1 event=login via=xmlrpc try=- user=-")


def test_the_site_decides_the_digits():
    """Another secret, other digits; without a secret none; a secret in the database is used."""
    (line,) = lines(
        "xmlrpc()->login('admin', 'guess');",
        Site(
            constants={"NONCE_KEY": "put your unique phrase here"},
            options={"nonce_key": "k", "nonce_salt": "s"},
        ),
    )
    assert f"try={tag('admin', 'guess', 'ks')} " in line
    (line,) = lines("xmlrpc()->login('admin', 'guess');", Site(constants={}))
    assert " try=- user=admin" in line


@pytest.mark.parametrize(
    "name",
    [
        "a\nxmlrpc-blocker: addr=192.0.2.66 n=9 event=login",
        "a\r\nb", "a b=c", 'say "x"', "it's", "%0A", "%", "<b>", "a\0b", "\x1b[31m", "é" * 60,
        "x n=9 addr=192.0.2.66", "x" * 5000, "\\", "user=admin", "-", "0",
    ],
)  # fmt: skip
@pytest.mark.parametrize("exists", [True, False])
def test_no_name_forges_a_field_or_a_line(name, exists):
    """A line has one form for all names, and at most 60 bytes of a name that exists."""
    site = Site(users={name: "right"} if exists else USERS)
    (line,) = lines(f"xmlrpc()->login(json_decode({php(as_json(name))}), 'x');", site)
    assert LINE.fullmatch(line), line
    assert line.startswith(f"{BEGIN} n=1 event=login via=xmlrpc try={tag(name, 'x')} user=")
    user = line.rpartition("=")[2]
    assert len(re.findall("%..|.", user)) <= 60
    assert exists or user == "-"


def as_json(text):
    """Return a text as JSON in ASCII."""
    return '"' + "".join(f"\\u{ord(each):04x}" for each in text) + '"'


@pytest.mark.parametrize(
    "words", ["['a'], 'x'", "'admin', ['x']", "new stdClass(), 'x'", "null, null", "7, 8"]
)
def test_names_and_passwords_that_are_no_text(words):
    """Arrays and other values of a request are a failure without details."""
    (line,) = lines(f"xmlrpc()->login({words});")
    assert LINE.fullmatch(line), line
    assert " try=- user=" in line


def test_the_password_is_neither_written_nor_kept():
    """It is in no line, and in nothing that the plugin holds after a check."""
    scenario = "wp_authenticate('admin', 'Tr0ub4dor'); error_log(print_r($hooks, true));"
    played = request(scenario)
    assert "[waiting:Xmlrpc_Blocker_Reporter:private]" in played.err
    assert "Tr0ub4dor" not in played.err + "".join(played.sent)


def test_the_form_and_the_rest_interface():
    """Outside XML-RPC wp_login_failed is the source, with the name of the way."""
    end = f"try={tag('admin', 'guess')} user=admin"
    assert lines("wp_authenticate('admin', 'guess');") == [
        f"{BEGIN} n=1 event=login via=form {end}"
    ]
    scenario = "define('REST_REQUEST', true); wp_authenticate('admin', 'guess');"
    assert lines(scenario) == [f"{BEGIN} n=1 event=login via=rest {end}"]


def test_a_failure_that_another_plugin_reports_has_no_digits():
    """Two-factor plugins call wp_login_failed after a right password."""
    scenario = "wp_authenticate('admin', 'right'); do_action('wp_login_failed', 'admin');"
    assert lines(scenario) == [f"{BEGIN} n=1 event=login via=form try=- user=admin"]


def test_xmlrpc_may_be_defined_after_the_plugin_was_loaded():
    """Jetpack's own entry does so: one failure is one line all the same."""
    assert len(lines("wp_authenticate('', ''); xmlrpc()->login('admin', 'x');")) == 1


BASIC = "do_action('application_password_failed_authentication', new WP_Error({}));"
AUTHORIZED = {"REMOTE_ADDR": CLIENT, "PHP_AUTH_USER": "admin", "PHP_AUTH_PW": "guess"}


@pytest.mark.parametrize("code", ["invalid_username", "invalid_email", "incorrect_password"])
def test_a_wrong_application_password_is_one_line_a_request(code):
    """WordPress may check it more than once in a request."""
    expected = f"{BEGIN} n=1 event=login via=basic try={tag('admin', 'guess')} user=admin"
    assert lines(2 * BASIC.format(php(code)), Site(server=AUTHORIZED)) == [expected]


@pytest.mark.parametrize(
    "scenario",
    [
        BASIC.format("'application_passwords_disabled'"),
        BASIC.format("'application_passwords_disabled_for_user'"),
        "do_action('application_password_failed_authentication', null);",
        "xmlrpc(); " + BASIC.format("'incorrect_password'"),
    ],
)
def test_other_errors_of_application_passwords_are_no_guess(scenario):
    """Settings of the site are no failure; over XML-RPC xmlrpc_login_error reports it."""
    assert lines(scenario, Site(server=AUTHORIZED)) == []


@pytest.mark.parametrize("code", [0, 16, 17, 32, 33, 48])
def test_a_pingback_is_reported_with_its_own_code(code):
    """WordPress hides the code from later filters; 48 is reported, too."""
    assert lines(f"xmlrpc()->pingback({code});") == [
        f"{BEGIN} n=1 event=pingback via=xmlrpc code={code}"
    ]


def test_five_pingbacks_of_a_multicall_are_five_events():
    """The first line at once, the others together."""
    assert lines("$s = xmlrpc(); for ($i = 0; $i < 5; $i++) $s->pingback(17);") == [
        f"{BEGIN} n=1 event=pingback via=xmlrpc code=17",
        f"{BEGIN} n=4 event=pingback via=xmlrpc code=17",
    ]


def test_a_login_to_a_disabled_xmlrpc_is_reported_at_the_end():
    """It has no hook: the server object holds the error."""
    assert lines("xmlrpc()->error = new IXR_Error(405);") == [
        f"{BEGIN} n=1 event=disabled via=xmlrpc"
    ]
    assert lines("xmlrpc()->error = new IXR_Error(403);") == []
    assert lines("xmlrpc()->error = 'no object';") == []


@pytest.mark.parametrize(
    ("scenario", "fields", "expected"),
    [
        ("apply_filters('rest_user_query', []);", {}, "rest"),
        ("apply_filters('rest_user_query', []);", {"logged_in": True}, None),
        ("ask();", {"get": {"author": "1"}}, "author"),
        ("ask();", {"get": {"author": "1"}, "logged_in": True}, None),
        ("ask();", {"get": {"author": "1"}, "admin": True}, None),
        ("ask();", {"get": {"author": "1"}, "options": {}}, None),
        ("ask();", {"get": {"author": "admin"}}, None),
        ("ask();", {"get": {"author": ["1"]}}, None),
        ("ask();", {"get": {"author": "1\n"}}, None),
        ("ask();", {}, None),
        ("ask('/wp/v2/posts');", {"get": {"author": "1"}}, None),
    ],
)
def test_questions_for_user_names(scenario, fields, expected):
    """The list of users, and numbers of authors where links show names; not by logged-in users."""
    site = Site(**{"options": {"permalink_structure": "/%postname%/"}, **fields})
    ask = (
        "function ask($route = '') { $wp = new stdClass();"
        " $wp->query_vars = ['rest_route' => $route]; do_action('parse_request', $wp); }"
    )
    found = lines(ask + scenario, site)
    assert found == ([f"{BEGIN} n=1 event=users via={expected}"] if expected else [])


@pytest.mark.parametrize("end", ["exit;", "no_such_function();"])
def test_what_waits_is_written_after_exit_and_after_a_fatal_error(end):
    """WordPress runs its shutdown action then, too."""
    played = request(f"$s = xmlrpc(); $s->login('a', 'a'); $s->login('a', 'b'); {end}")
    assert [" n=1 " in line for line in played.sent] == [True, True]


def test_a_long_request_writes_once_a_second():
    """A multicall of pingbacks takes a second for each: the daemon sees them as they happen."""
    pings = "for ($i = 0; $i < 8; $i++) { $s->pingback(16); $clock += 400000000; }"
    scenario = f"$s = xmlrpc(); {pings} $s->login('a', 'b');"
    assert [re.sub(".* n=", "n=", line) for line in lines(scenario)] == [
        "n=1 event=pingback via=xmlrpc code=16",
        "n=3 event=pingback via=xmlrpc code=16",
        "n=3 event=pingback via=xmlrpc code=16",
        "n=1 event=pingback via=xmlrpc code=16",
        f"n=1 event=login via=xmlrpc try={tag('a', 'b')} user=-",
    ]


def test_what_waits_has_a_ceiling():
    """Beyond 16 different lines failures are counted without details, none is lost."""
    names = {f"u{n}": "right" for n in range(40)}
    scenario = (
        "xmlrpc(); for ($i = 0; $i < 40; $i++) (new wp_xmlrpc_server())->login(\"u$i\", 'x');"
    )
    played = request(scenario, Site(users=names), to_socket=False)
    counts = [int(re.search(r" n=(\d+) ", line)[1]) for line in played.logged]
    assert counts == [1] * 17 + [23]
    assert played.logged[-1].endswith("event=login via=xmlrpc try=- user=-")


def test_n_has_a_ceiling():
    """A reader accepts 1 to 100,000."""
    scenario = "$s = xmlrpc(); for ($i = 0; $i < 100100; $i++) $s->login('a', 'b');"
    last = request(scenario).sent[-1]
    assert int(re.search(r" n=(\d+) ", last)[1]) == 100_000


def test_filters_return_what_they_got():
    """The very same object, value or nothing; nothing is answered differently."""
    names = ("authenticate", "xmlrpc_login_error", "xmlrpc_pingback_error", "rest_user_query")
    words = ", ".join(map(php, names))
    scenario = (
        f"$hooks['xmlrpc_pingback_error'][10] = []; foreach ([{words}] as $name)"
        " foreach ([null, false, 7, 'x', [1], new IXR_Error(1), new WP_User('a')] as $each)"
        " if (apply_filters($name, $each, 'a', 'b') !== $each) exit($name);"
    )
    played = request(scenario, to_socket=False)
    assert played.out == ""


def test_no_exception_and_no_warning_leaves_a_hook():
    """What breaks in the site is not made worse, and handlers of other plugins get no warning."""
    site = Site(constants={**SECRETS, "XMLRPC_BLOCKER_SOCKET": "/nowhere/events.sock"})
    scenario = (
        "set_error_handler(function () { exit('handler'); });"
        "class Broken { public function __get($name) { throw new Error('broken'); }"
        " public function __isset($name) { return true; } }"
        "unset($hooks['xmlrpc_pingback_error'][10]);"
        "foreach ($hooks as $name => $_) { apply_filters($name, new Broken(), new Broken(), []); }"
        "$wp_xmlrpc_server = new Broken(); xmlrpc()->login('broken', 'x');"
        " (new wp_xmlrpc_server())->login('admin', 'x');"
    )
    played = request(scenario, site)
    assert (played.out, played.err) == ("", "")
    assert played.logged[-1].endswith(" user=admin")


def test_two_copies_report_once():
    """A copy among the ordinary plugins does nothing beside the must-use one."""
    scenario = f"require {php(str(PLUGIN))}; $s = xmlrpc(); $s->login('a', 'b');"
    again = "copy($argv[1], $x = tempnam('/tmp', 'copy')); require $x; unlink($x);"
    assert len(lines(again + scenario.replace(f"require {php(str(PLUGIN))};", ""))) == 1


def test_it_stores_and_prints_nothing():
    """No option, transient, cookie, header, output or translation."""
    code = re.sub(r"(?s)/\*.*?\*/|//[^\n]*", "", PLUGIN.read_text())
    words = r"\b(\w+_(option|transient|meta)|setcookie|header|echo|print\w*|__|_e|\$wpdb)\b"
    assert {found[0] for found in re.finditer(words, code)} == {"get_option", "get_site_option"}
