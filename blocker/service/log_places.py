"""Where web servers and panels write their access logs: a table.  Add a place here.  Pure.

Rules:

* A pattern matches access logs, and as few other files as possible: no error logs, no counters.
* A file belongs to the first place that matches it, so the particular comes before the general.
* docs/logs.md shows every row, and tests/samples/places.txt holds lines of every server.
"""

from collections.abc import Sequence
from typing import NamedTuple

ADM = "group `adm`"
ANYONE = "readable by all"
ACL = "ACL"
HOME = "ACL, `ProtectHome=`"
RT_CACHE = (
    "$remote_addr $upstream_response_time $upstream_cache_status [$time_local] $http_host"
    ' "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"'
)
"""WordOps' and EasyEngine's ``rt_cache``."""


class Place(NamedTuple):
    """A place of access logs.

    Attributes:
        server: the server or panel, for people.
        pattern: of the paths, as for ``logs``.
        format: the name of the format that is written there out of the box.
        access: what lets the service's user read it there.
        group: of the places of one group only the first with files is proposed, because the others
            log the same requests again.
        mixed: logs of other programs stand there, too, so files that are not understood are left
            out.
        own: the ``format`` to set, if it is not recognised.
    """

    server: str
    pattern: str
    format: str
    access: str
    group: str = ""
    mixed: bool = False
    own: str = ""


_DOMLOGS = ("/var/log/apache2/domlogs", "/usr/local/apache/domlogs")
_PLESK = "/var/www/vhosts"

PLACES: Sequence[Place] = (
    # With nginx in front, Apache logs each request that it gets from there again.
    Place("Plesk with nginx", f"{_PLESK}/system/*/logs/proxy_access*log", "combined", ANYONE,
          group="plesk"),
    Place("Plesk", f"{_PLESK}/system/*/logs/access*log", "combined", ANYONE, group="plesk"),
    Place("Plesk with nginx", f"{_PLESK}/*/logs/proxy_access*log", "combined", ACL,
          group="plesk"),
    Place("Plesk", f"{_PLESK}/*/logs/access*log", "combined", ACL, group="plesk"),
    # Names of domains hold no underscore, those of the counters beside them do: *-bytes_log.
    *(Place("cPanel", f"{directory}/{name}", "combined", ACL)
      for directory in _DOMLOGS for name in ("*-ssl_log", "*[!_]???")),
    # All but *.error.log.
    Place("DirectAdmin", "/var/log/httpd/domains/*[!r].log", "combined", ACL),
    Place("DirectAdmin", "/var/log/httpd/domains/*[!o]r.log", "combined", ACL),
    Place("ISPConfig", "/var/log/ispconfig/httpd/*/access.log", "combined", ANYONE),
    Place("CyberPanel, OpenLiteSpeed", "/home/*/logs/*access_log", "openlitespeed", HOME),
    Place("CyberPanel, OpenLiteSpeed", "/usr/local/lsws/logs/access.log", "openlitespeed", ACL),
    Place("CloudPanel", "/home/*/logs/nginx/access.log", "combined", HOME),
    # There first: what stands in /var/www are links to it.
    Place("WordOps, EasyEngine", "/var/log/nginx/*.access.log", "own", ADM, own=RT_CACHE),
    Place("WordOps, EasyEngine", "/var/www/*/logs/access.log", "own", ACL, own=RT_CACHE),
    Place("Nginx Proxy Manager", "/data/logs/proxy-host-*_access.log", "npm", ACL),
    Place("nginx", "/var/log/nginx/*access*.log", "combined", ADM),
    Place("Apache", "/var/log/apache2/*access*.log", "combined", ADM),
    Place("Apache (httpd)", "/var/log/httpd/*access*log", "combined", ACL),
    Place("lighttpd", "/var/log/lighttpd/access.log", "lighttpd", ACL),
    Place("Caddy", "/var/log/caddy/*.log", "json", ACL, mixed=True),
    Place("Traefik", "/var/log/traefik/access.log", "combined", ACL),
    Place("HAProxy", "/var/log/haproxy.log", "haproxy, wrapped", ADM, mixed=True),
    Place("Kubernetes", "/var/log/containers/*.log", "combined, wrapped", ACL, mixed=True),
    Place("Docker", "/var/lib/docker/containers/*/*-json.log", "combined, wrapped", ACL,
          mixed=True),
    Place("Podman", "/var/lib/containers/storage/overlay-containers/*/userdata/ctr.log",
          "combined, wrapped", ACL, mixed=True),
)  # fmt: skip
