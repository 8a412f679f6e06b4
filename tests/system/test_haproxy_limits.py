"""The limits and times of deploy/haproxy.cfg are those of pages, API and other files."""

import re

import yaml

from tests.system.deploy_steps import DEPLOY, KUBERNETES, seconds

TEXT = re.sub(r"(?m)^ *#.*\n", "", (DEPLOY / "haproxy.cfg").read_text())
HEAD = (DEPLOY / "haproxy.cfg").read_text().partition("\nglobal\n")[0]
DOCS = DEPLOY.parent / "docs"
LIMITS = (DOCS / "reference/limits.md").read_text()


def timeout(name: str) -> float:
    [value] = re.findall(rf"(?m)^ +timeout {name} (\S+)$", TEXT)
    return seconds(value)


def section(name: str) -> str:
    return TEXT.partition(f"\n{name}\n")[2].partition("\n\n")[0]


def limit(of: str) -> float:
    """Return the seconds that docs/reference/limits.md says."""
    [value] = re.findall(rf"(?m)^\| {of}[^|]* \| (?:default \| )?(\d+) s\b", LIMITS)
    return float(value)


def test_a_request_has_the_times_of_the_page() -> None:
    assert timeout("http-request") == limit("a request arrives at HAProxy")
    assert re.findall(r"wait-for-body time (\S+)", TEXT) == [f"{limit('time'):.0f}s"]
    answer = limit("HAProxy waits for the answer of the API")
    assert timeout("server") == timeout("client") == answer


def test_haproxy_waits_for_an_answer_as_long_as_gunicorn_works_on_it() -> None:
    """gunicorn kills a process that is stuck for longer. A stop or reload waits as long."""
    gunicorn = (DEPLOY / "gunicorn.conf.py").read_text()
    [stuck] = re.findall(r"(?m)^timeout = (\d+)", gunicorn)
    assert timeout("server") == int(stuck)
    [hard] = re.findall(r"hard-stop-after (\S+)", TEXT)
    assert seconds(hard) >= timeout("server")


def test_haproxy_notices_a_stop_before_the_api_accepts_no_requests() -> None:
    """A stopping API is not ready for UNREADY_SECONDS, while it still accepts requests."""
    [(inter, fall)] = re.findall(r"check inter (\S+) fall (\d+)", TEXT)
    settings = yaml.safe_load((KUBERNETES / "settings.yaml").read_text())["data"]
    longest = seconds(inter) * int(fall) + timeout("check")
    assert longest <= int(settings["UNREADY_SECONDS"])
    assert timeout("check") > 2, "/readyz answers within 2 s"


def test_a_request_is_tried_twice_at_each_api() -> None:
    """A process that restarts accepts no connection for a moment. Each try goes to the next."""
    servers = re.findall(r"(?m)^ +server (\S+)", section("backend api"))
    [retries] = re.findall(r"(?m)^ +retries (\d+)$", TEXT)
    assert 1 + int(retries) == 2 * len(servers)
    assert "option redispatch 1\n" in TEXT


def test_both_backends_have_the_same_servers_and_ask_for_their_addresses_again() -> None:
    """A container that is replaced gets another address. HAProxy also starts before its name is
    known.
    """
    [resolvers] = re.findall(r"(?m)^resolvers (\S+)$", TEXT)
    assert "parse-resolv-conf" in section(f"resolvers {resolvers}")
    servers = {}
    for backend in ("api", "polls"):
        text = section(f"backend {backend}")
        [defaults] = re.findall(r"(?m)^ +default-server (.+)$", text)
        assert f"init-addr last,libc,none resolvers {resolvers}" in defaults
        servers[backend] = re.findall(r"(?m)^ +server (\S+ \S+)", text)
    assert servers["api"] == servers["polls"]


def test_all_requests_are_those_of_both_backends() -> None:
    """Polls take the same memory."""
    backends = {
        name
        for name in re.findall(r"(?m)^backend (\w+)$", TEXT)
        if "server " in section(f"backend {name}")
    }
    assert set(re.findall(r"(?:use_backend|default_backend) (\w+)", TEXT)) == backends
    [(variable, other)] = re.findall(r"set-var\((\S+)\) be_conn\((\w+)\)", TEXT)
    [(first, added)] = re.findall(r"be_conn\((\w+)\),add\((\S+)\) ge \"\$\{ALL_REQUESTS-", TEXT)
    assert (added, {first, other}) == (variable, backends)


def test_each_limit_counts_a_source_as_the_page_says() -> None:
    """The /64 of IPv6: a caller may have all of its addresses."""
    [prefix] = set(re.findall(r"IPv6:\D+/(\d+)", HEAD + LIMITS))
    tracked = re.findall(r"track-sc\d (\S+) table (\w+)", TEXT)
    assert {source for source, _ in tracked} == {f"src,ipmask(32,{prefix})"}
    for _, table in tracked:
        assert "stick-table type ipv6 " in section(f"backend {table}")


def test_rates_are_counted_in_the_time_that_the_page_says() -> None:
    rows = re.findall(r"(?m)^\| `(\w+_RATE)` .* in (\d+) s \|$", LIMITS)
    assert rows == re.findall(r"(?m)^#   (\w+_RATE) .* in (\d+) s$", HEAD)
    rates = re.findall(r"(conn_rate|http_req_rate)\((\d+)s\)", TEXT)
    assert [time for _, time in rates] == [time for _, time in rows]
    for (counter, time), (variable, _) in zip(rates, rows, strict=True):
        assert re.search(rf"sc\d_{counter} gt \"\${{{variable}-", TEXT), time


def test_a_caller_without_certificate_sends_as_much_as_the_page_says() -> None:
    [kilobytes] = re.findall(r"without a certificate can send (\d+) KB at most", LIMITS)
    [most] = re.findall(r"of_node !has_certificate .*content-length\) -m int le (\d+)", TEXT)
    assert int(most) == int(kilobytes) * 1024


def test_haproxy_and_the_api_accept_the_same_versions_of_tls() -> None:
    """The API ends TLS itself in the embedded form."""
    own = (DEPLOY.parent / "provisioner/server.py").read_text()
    [version] = re.findall(r"minimum_version = ssl.TLSVersion.TLSv(\d)_(\d)", own)
    assert f"ssl-default-bind-options ssl-min-ver TLSv{'.'.join(version)}\n" in TEXT


def test_the_log_has_each_poll_that_broke_off() -> None:
    """An answer without a length is sent while it is written: its status says nothing about its
    end.
    """
    [condition] = re.findall(r"set-log-level silent if (.+)", TEXT)
    assert re.findall(r"\{ (.*?) \}", condition) == [
        "status 200",
        "res.hdr(content-length) -m found",
    ]
