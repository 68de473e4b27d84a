"""The names of the formats that are recognised."""

import pytest

from blocker.matching.recognise import Recogniser

COMMON = b'203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200 370'
JSON = b'{"remote_addr":"203.0.113.7","time_iso8601":"2026-03-10T12:00:00+00:00",'
JSON += b'"request":"POST /xmlrpc.php HTTP/1.1","status":200}'
CONSOLE = (
    b"2026/03/10 12:00:00.123\tINFO\thttp.log.access.log0\thandled request\t"
    b'{"request": {"remote_ip": "203.0.113.7", "method": "POST", "proto": "HTTP/2.0", '
    b'"host": "a", "uri": "/xmlrpc.php"}, "status": 200}'
)
DOCKER = b'{"log":"%s\\n","stream":"stdout","time":"2026-03-10T12:00:00Z"}'
CRI = b"2026-03-10T12:00:00.123456789Z stdout F "


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (COMMON, "common"),
        (b"\0" + COMMON, "common"),
        (COMMON + b' "-" "agent"', "combined"),
        (COMMON + b' "-"', "common"),
        (b"www.example.org:443 " + COMMON, "vhost_combined"),
        (JSON, "json"),
        (CONSOLE, "json"),
        (CRI + JSON, "json, wrapped"),
        (CRI + COMMON, "common, wrapped"),
        (CRI + b"Mar 10 12:00:00 lb1 nginx: " + COMMON, "common, wrapped"),
        (DOCKER % COMMON.replace(b'"', b'\\"'), "common, wrapped"),
        (DOCKER % JSON.replace(b'"', b'\\"'), "json, wrapped"),
        (b"who knows", ""),
        (b'{"who":"knows"}', ""),
        (b"", ""),
    ],
)
def test_a_line_has_the_name_of_its_format(line, name):
    """Also behind what a collector wrote; a line that is not understood has none."""
    assert Recogniser().name(line) == name
