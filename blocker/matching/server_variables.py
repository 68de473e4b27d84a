"""The variables of log formats whose content the server alone chooses.  Pure.

A variable that is not listed may hold what a client sent, so it has to be in quotes, where the
server escapes the quote.  Listed are those of which the documentation and the source say that no
request can put a space, a quote or a bracket into them.

Sources: nginx's index of variables (https://nginx.org/en/docs/varindex.html, of 1.29) with the
sources of its modules, and Apache's mod_log_config, mod_logio and mod_ssl (2.4), both read on
2026-11-30.
"""

NGINX_WORDS = frozenset({
    # core and log
    "body_bytes_sent", "bytes_sent", "connection", "connection_requests", "connection_time",
    "hostname", "limit_rate", "msec", "nginx_version", "pid", "pipe", "proxy_protocol_addr",
    "proxy_protocol_port", "proxy_protocol_server_addr", "proxy_protocol_server_port",
    "remote_port", "request_body_file", "request_id", "request_length", "request_time", "scheme",
    "server_addr", "server_name", "server_port", "server_protocol", "tcpinfo_rcv_space",
    "tcpinfo_rtt", "tcpinfo_rttvar", "tcpinfo_snd_cwnd",
    # ssl; a missing value is written as "-"
    "ssl_alpn_protocol", "ssl_cipher", "ssl_ciphers", "ssl_client_fingerprint",
    "ssl_client_serial", "ssl_client_sigalg", "ssl_client_v_remain", "ssl_curve", "ssl_curves",
    "ssl_early_data", "ssl_protocol", "ssl_session_id", "ssl_session_reused", "ssl_sigalg",
    # geoip: codes and numbers; names of places may hold spaces
    "geoip_area_code", "geoip_city_continent_code", "geoip_city_country_code",
    "geoip_city_country_code3", "geoip_country_code", "geoip_country_code3", "geoip_dma_code",
    "geoip_latitude", "geoip_longitude", "geoip_region",
    # other modules
    "brotli_ratio", "connections_active", "connections_reading", "connections_waiting",
    "connections_writing", "gzip_ratio", "limit_conn_status", "limit_req_status",
    "otel_span_id", "otel_trace_id", "proxy_port", "realip_remote_addr", "realip_remote_port",
    "uid_got", "uid_set", "upstream_cache_age", "zstd_ratio",
})  # fmt: skip
"""Never empty."""

NGINX_MAYBE_EMPTY = frozenset({
    "http2", "http3", "https", "invalid_referer", "is_args", "is_request_port", "msie", "quic",
    "request_completion", "request_port", "slice_range",
})  # fmt: skip
"""A word, or nothing at all."""

NGINX_HOSTS = frozenset({"host", "proxy_host", "ssl_server_name"})
"""Names that nginx checks: without a space or a quote, but possibly with any other mark."""

NGINX_UPSTREAM = frozenset(
    f"upstream_{name}"
    for name in (
        "addr", "bytes_received", "bytes_sent", "cache_status", "connect_time", "header_time",
        "queue_time", "response_length", "response_time", "status",
    )
)  # fmt: skip
"""One value for each server that was tried, in groups."""

APACHE_WORDS = frozenset({*"AbBDHIkLlOpPSTvX", "^FB"})
"""Letters that are words with any argument."""

APACHE_ARGUMENTS = {
    "x": frozenset({
        "HTTPS", "SSL_CIPHER", "SSL_CIPHER_ALGKEYSIZE", "SSL_CIPHER_EXPORT",
        "SSL_CIPHER_USEKEYSIZE", "SSL_CLIENT_A_KEY", "SSL_CLIENT_A_SIG", "SSL_CLIENT_M_SERIAL",
        "SSL_CLIENT_M_VERSION", "SSL_CLIENT_V_REMAIN", "SSL_COMPRESS_METHOD", "SSL_PROTOCOL",
        "SSL_SECURE_RENEG", "SSL_SERVER_A_KEY", "SSL_SERVER_A_SIG", "SSL_SERVER_M_SERIAL",
        "SSL_SERVER_M_VERSION", "SSL_SESSION_ID", "SSL_SESSION_RESUMED", "SSL_VERSION_INTERFACE",
        "SSL_VERSION_LIBRARY",
    }),
    "c": frozenset({"cipher", "version"}),
}  # fmt: skip
"""Letters that are words with some arguments only."""
