"""Clients of the site: real XML-RPC over HTTP, in the order in which known programs call."""

import base64
import http.client
import threading
import xmlrpc.client
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wordpress.real.site import BLOG, HOST, HOST6, Site, targets

TYPE = {"Content-Type": "text/xml"}


@dataclass
class Caller:
    """A client at an address, which counts its POSTs to xmlrpc.php."""

    site: Site
    source: str
    posts: int = 0
    faults: list[int] = field(default_factory=list)
    """Codes of the answers that were faults."""

    def ask(
        self, verb: str, target: str, body: bytes | str = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send a request; return status and body of the answer."""
        here = HOST6 if ":" in self.source else HOST
        with self.site.home.inside():
            connection = http.client.HTTPConnection(here, 80, 60, (self.source, 0))
            connection.connect()
        try:
            connection.request(verb, target, body, {"Host": HOST, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def post(
        self, body: bytes | str, target: str = "/xmlrpc.php", headers: dict[str, str] | None = None
    ) -> bytes:
        """Send a body to xmlrpc.php and return that of the answer."""
        self.posts += 1
        return self.ask("POST", target, body, {**TYPE, **(headers or {})})[1]

    def call(self, method: str, *params: object, target: str = "/xmlrpc.php") -> object:
        """Call a method; a fault is noted, and None is returned."""
        answer = self.post(xmlrpc.client.dumps(params, method).encode(), target)
        try:
            return xmlrpc.client.loads(answer)[0][0]
        except xmlrpc.client.Fault as fault:
            self.faults.append(fault.faultCode)
            return None

    def multicall(self, calls: Sequence[tuple[str, Sequence[object]]]) -> object:
        """Call many methods in one request."""
        wrapped = [{"methodName": method, "params": list(params)} for method, params in calls]
        return self.call("system.multicall", wrapped)

    def at_once(self, *calls: tuple[str, Sequence[object]]) -> None:
        """Call several methods at the same time, each by itself."""
        threads = [
            threading.Thread(target=self.call, args=(method, *params)) for method, params in calls
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


EDITOR = (1, "editor", "right editor")
LOGIN = EDITOR[1:]
OLD = (1, "editor", "last year's")


def android(caller: Caller) -> None:
    """Discovery, log in, open the list of posts."""
    caller.call("system.listMethods")
    caller.call("wp.getUsersBlogs", *LOGIN)
    caller.call("wp.getUsersBlogs", *LOGIN)
    for method in ("wp.getOptions", "wp.getProfile", "wp.getPostFormats", "wp.getPosts"):
        caller.call(method, *EDITOR)
    caller.call("wp.getTerms", *EDITOR, "category")


def ios(caller: Caller) -> None:
    """Discovery, log in, first sync; an editor may not list the users."""
    caller.call("system.listMethods")
    caller.call("wp.getUsersBlogs", *LOGIN)
    caller.call("wp.getOptions", *EDITOR)
    first = ("wp.getPostFormats", "wp.getUsers", "wp.getProfile")
    caller.at_once(("wp.getTerms", (*EDITOR, "category")), *((each, EDITOR) for each in first))
    caller.call("wp.getPosts", *EDITOR)


def ios_with_an_old_password(caller: Caller) -> None:
    """Two launches after the password was changed elsewhere: neither stops at a 403."""
    for _ in range(2):
        caller.at_once(
            ("wp.getOptions", OLD), ("wp.getPostFormats", OLD), ("wp.getProfile", OLD),
            ("wp.getPosts", OLD),
        )  # fmt: skip


def android_with_a_typo(caller: Caller) -> None:
    """One wrong password, then the right one."""
    caller.call("system.listMethods")
    caller.call("wp.getUsersBlogs", "editor", "right editro")
    caller.call("wp.getUsersBlogs", *LOGIN)
    for method in ("wp.getOptions", "wp.getProfile", "wp.getPostFormats", "wp.getPosts"):
        caller.call(method, *EDITOR)


def desktop_editor(caller: Caller) -> None:
    """Three uploads and a post."""
    caller.call("blogger.getUsersBlogs", "", *LOGIN)
    caller.call("metaWeblog.getCategories", *EDITOR)
    caller.call("metaWeblog.getRecentPosts", *EDITOR, 10)
    for number in range(3):
        upload = {"name": f"{number}.txt", "type": "text/plain", "bits": b"text"}
        caller.call("metaWeblog.newMediaObject", *EDITOR, upload)
    post = (*EDITOR, {"title": "new", "description": "text"}, True)
    caller.call("metaWeblog.newPost", *post)
    caller.call("wp.getTags", *EDITOR)


def app_with_its_own_password(caller: Caller) -> None:
    """An application password, as recent programs use it."""
    secret = (1, "editor", caller.site.facts["password"])
    for method in ("wp.getOptions", "wp.getProfile", "wp.getPosts"):
        caller.call(method, *secret)


def jetpack(caller: Caller) -> None:
    """Six signed calls; to a site without Jetpack they are unknown methods."""
    for method in ("verifyRegistration", "getUser", "testConnection") * 2:
        caller.call(f"jetpack.{method}", target="/xmlrpc.php?for=jetpack&token=x&signature=y")


def linking_blog(caller: Caller) -> None:
    """A post that links to three of the site's, announced twice."""
    for target in targets(caller.site.facts) * 2:
        caller.call("pingback.ping", f"http://{BLOG}/links.html", target)


def guesser(caller: Caller) -> None:
    """Five guesses, a request for each."""
    for number in range(5):
        caller.call("wp.getUsersBlogs", "admin", f"guess {number}")


def multicall_of_guesses(caller: Caller) -> None:
    """One request with 500 guesses."""
    caller.multicall([("wp.getUsersBlogs", ("admin", f"guess {number}")) for number in range(500)])


def _reflected(caller: Caller) -> list[tuple[str, tuple[str, str]]]:
    (post, *_) = targets(caller.site.facts)
    page = f"http://{BLOG}/no-link.html"
    return [("pingback.ping", (f"{page}?{number}", post)) for number in range(5)]


def reflector(caller: Caller) -> None:
    """Four pingbacks that make the site fetch pages of a victim."""
    for method, params in _reflected(caller)[:4]:
        caller.call(method, *params)


def multicall_of_pingbacks(caller: Caller) -> None:
    """One request with five pingbacks."""
    caller.multicall(_reflected(caller))


@dataclass(frozen=True)
class Expected:
    """A row of the table: what a caller does, and what the plugin reports of it."""

    act: Callable[[Caller], None]
    posts: int
    events: int
    """The sum of n, without pingbacks of code 48."""
    distinct: int
    """Events that are different guesses."""


FRIENDS = [
    Expected(android, 8, 0, 0),
    Expected(ios, 8, 0, 0),
    Expected(ios_with_an_old_password, 8, 8, 1),
    Expected(android_with_a_typo, 7, 1, 1),
    Expected(desktop_editor, 8, 0, 0),
    Expected(app_with_its_own_password, 3, 0, 0),
    Expected(jetpack, 6, 0, 0),
    Expected(linking_blog, 6, 0, 0),
]
ATTACKERS = [
    Expected(guesser, 5, 5, 5),
    Expected(multicall_of_guesses, 1, 500, 500),
    Expected(reflector, 4, 4, 4),
    Expected(multicall_of_pingbacks, 1, 5, 5),
]


def basic(name: str, password: str) -> dict[str, str]:
    """Return the header of HTTP's basic authentication."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}
