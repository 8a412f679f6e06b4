"""Access: passwords, tokens, roles, and what the log says about them."""

import base64
import datetime as dt
import json
from typing import Any

import jwt
import pytest
from django.contrib.auth import get_user_model
from pydantic import SecretStr

from provisioner.access.principals import Caller, Role
from provisioner.access.tokens import token_issue, token_verify
from tests.api.wire import ADMIN, basic, bearer, refused, send
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = ("a" * 64, "b" * 64)
HOUR = dt.timedelta(hours=1)
CLAIMS = {"iss": "provisioner", "aud": "provisioner", "sub": "me", "roles": ["ADMIN"]}


@pytest.fixture
def get(live_server):
    """Return the answer to ``GET /tasks`` with these headers."""
    return lambda headers: send(live_server.url, "GET", "/tasks", headers=headers)


@pytest.fixture
def keys(settings):
    def use(*keys):
        settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(
            update={"token_keys": tuple(SecretStr(key) for key in keys)}
        )

    use(KEYS[0])
    return use


def issue(**changes):
    wanted: Any = {"name": "me", "roles": {Role.ADMIN}, "lifetime": HOUR}
    return token_issue(**(wanted | changes))[0]


def sign(key=KEYS[0], algorithm="HS256", **changes):
    """Sign a token with these claims. Claims of None are omitted."""
    now = dt.datetime.now(dt.UTC)
    claims = {**CLAIMS, "iat": now, "exp": now + HOUR} | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm)


class TestBasic:
    def test_a_local_user_has_the_roles_of_its_groups(self, get, make_user):
        assert get(make_user("m", "pw", "MONITOR")).http == 200
        refused(get(make_user("n", "pw", "NODE")), 403, "Forbidden")
        refused(get(make_user("none", "pw")), 403, "Forbidden")

    def test_a_superuser_is_an_admin(self, get, make_user):
        assert get(make_user("root", "pw", is_superuser=True)).http == 200

    @pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
    def test_names_and_passwords_may_have_umlauts_and_colons(self, get, make_user, encoding):
        make_user("jürgen", "pä:ss:", "ADMIN")
        assert get(basic("jürgen", "pä:ss:", encoding)).http == 200

    def test_the_name_of_the_scheme_may_be_in_any_case(self, get, admin_header):
        credentials = admin_header["Authorization"].partition(" ")[2]
        for scheme in ("basic", "BASIC", "bAsIc "):
            assert get({"Authorization": f"{scheme} {credentials}"}).http == 200

    @pytest.mark.parametrize(
        ("name", "password"),
        [
            ("admin", "wrong"), ("admin", ""), ("ADMIN", ADMIN[1]), ("nobody", "x"), ("", ""),
            ("admin\0", ADMIN[1]), ("x" * 5000, "x"), ("admin", "x" * 5000), ("admin ", ADMIN[1]),
        ],
    )  # fmt: skip
    def test_wrong_credentials_are_refused(self, get, admin_header, name, password):
        answer = get(basic(name, password))
        assert refused(answer, 401, "Unauthorized") == (
            "HTTP Status 401 - wrong user name or password"
        )
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")

    def test_a_deactivated_user_is_refused_at_once(self, get, admin_header):
        assert get(admin_header).http == 200
        get_user_model().objects.update(is_active=False)
        refused(get(admin_header), 401, "Unauthorized")

    def test_a_changed_password_counts_at_once(self, get, admin_header):
        assert get(admin_header).http == 200
        user = get_user_model().objects.get()
        user.set_password("another one")
        user.save()
        refused(get(admin_header), 401, "Unauthorized")
        assert get(basic("admin", "another one")).http == 200

    def test_a_removed_role_is_lost_at_once(self, get, admin_header):
        assert get(admin_header).http == 200
        get_user_model().objects.get().groups.clear()
        refused(get(admin_header), 403, "Forbidden")


class TestBearer:
    def test_a_token_identifies_its_caller(self):
        roles = {Role.HOST, Role.NODE}
        token = issue(name="x", roles=roles, tenant_id="t", node_id="n", host_id="h")
        caller = Caller("x", frozenset(roles), "t", "n", "h")
        assert token_verify(token) == caller

    def test_a_token_expires_to_the_second(self):
        token, expires_at = token_issue(name="x", roles={Role.STORAGE}, lifetime=HOUR)
        left = expires_at - dt.datetime.now(dt.UTC)
        assert HOUR - dt.timedelta(seconds=2) < left <= HOUR
        claims = jwt.decode(token, options={"verify_signature": False})
        assert dt.datetime.fromtimestamp(claims["exp"], dt.UTC) == expires_at

    @pytest.mark.parametrize("roles", [["HOST"], ["HOST", "ADMIN"]])
    def test_a_host_token_that_names_no_host_is_refused(self, get, keys, roles):
        description = refused(get(bearer(sign(roles=roles))), 401, "Unauthorized")
        assert "must name its host: issue it again" in description

    def test_a_host_token_has_only_the_role_host(self, keys):
        both = token_verify(sign(roles=["HOST", "ADMIN"], host="h"))
        assert both.acts_as == {Role.HOST}
        assert not both.is_admin

    def test_a_token_is_valid_while_its_key_is_configured(self, get, keys):
        old = bearer(issue())
        keys(KEYS[1], KEYS[0])
        new = bearer(issue())
        assert get(old).http == get(new).http == 200
        keys(KEYS[1])
        refused(get(old), 401, "Unauthorized")
        assert get(new).http == 200

    def test_the_secret_key_signs_if_no_token_key_is_set(self, get, settings):
        assert get(bearer(sign(settings.SECRET_KEY))).http == 200

    def test_a_token_from_an_issuer_whose_clock_is_ahead_is_valid(self, get, keys):
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
        assert get(bearer(sign(iat=soon))).http == 200

    def test_roles_that_this_version_does_not_know_are_ignored(self, get, keys):
        assert get(bearer(sign(roles=["MONITOR", "GARDENER"]))).http == 200
        refused(get(bearer(sign(roles=["GARDENER"]))), 403, "Forbidden")

    def test_an_expired_token_is_refused(self, get, keys):
        past = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
        for token in (sign(exp=past), issue(lifetime=dt.timedelta(seconds=-1))):
            description = refused(get(bearer(token)), 401, "Unauthorized")
            assert description == "HTTP Status 401 - the token has expired"

    def test_a_token_that_was_valid_before_is_refused_once_expired(self, get, keys):
        """A verified signature is cached; the expiry is checked each time."""
        token = bearer(issue(lifetime=dt.timedelta(seconds=3)))
        assert get(token).http == 200
        eventually(lambda: get(token).http != 200, seconds=20, what="expiry", pause=0.2)
        refused(get(token), 401, "Unauthorized")

    @pytest.mark.parametrize(
        "changes",
        [
            {"iss": "other"}, {"iss": None}, {"aud": "other"}, {"aud": None}, {"aud": ["other"]},
            {"exp": None}, {"exp": "never"}, {"exp": {}}, {"iat": None}, {"sub": None}, {"sub": 5},
            {"roles": None}, {"roles": "ADMIN"}, {"roles": [1]}, {"roles": {"ADMIN": 1}},
            {"tenant": 5}, {"node": ["n"]}, {"exp": float("inf")},
            {"exp": float("nan")}, {"key": "c" * 64}, {"algorithm": "HS512"},
            {"algorithm": "none", "key": None}, {"nbf": 10**12},
        ],
    )  # fmt: skip
    def test_a_token_with_wrong_claims_or_another_signature_is_refused(self, get, keys, changes):
        answer = get(bearer(sign(**changes)))
        assert refused(answer, 401, "Unauthorized") == (
            "HTTP Status 401 - the token is not valid for this API"
        )
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")

    @pytest.mark.parametrize("algorithm", ["none", "None", "", None, [], {}, 5, "HS256 "])
    def test_a_token_cannot_choose_its_algorithm(self, get, keys, algorithm):
        _, claims, signature = sign().split(".")
        header = _segment({"alg": algorithm, "typ": "JWT"})
        for end in ("", signature):
            refused(get(bearer(f"{header}.{claims}.{end}")), 401, "Unauthorized")

    def test_a_token_whose_claims_were_changed_is_refused(self, get, keys):
        header, _, signature = issue(roles={Role.MONITOR}).split(".")
        claims = _segment({**CLAIMS, "iat": 0, "exp": 10**10})
        refused(get(bearer(f"{header}.{claims}.{signature}")), 401, "Unauthorized")


MALFORMED = [
    "", " ", "Basic", "Basic ", "Basic x", "Basic ====", "Basic YTpi!", "Basic äöü",
    "Basic YTpi YTpi", "Basic /w==", "Basic Og==", "Basic AA==", "Basic " + "A" * 6000, "Bearer",
    "Bearer ", "Bearer Unknown", "Bearer a.b.c", "Bearer ..", "Bearer a.b.c.d", "Bearer äöü",
    "Bearer =.=.=", "Bearer e30.e30.e30", "Bearer " + "." * 6000, "Digest username=x", "Negotiate",
    "x" * 6000,
]  # fmt: skip


def _segment(content) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


class TestMalformedHeaders:
    @pytest.mark.parametrize("header", MALFORMED)
    def test_malformed_headers_are_refused(self, get, header):
        refused(get({"Authorization": header}), 401, "Unauthorized")

    @pytest.mark.parametrize(
        "header",
        [
            "[" * 5000 + "]" * 5000,
            '{"alg": "HS256", "b64": false, "crit": ["b64"]}',
            '{"alg": "HS256", "kid": 5}',
            '{"alg": "HS256", "x": ' + "9" * 5000 + "}",
            '{"alg": "HS256", "crit": ["x"]}',
            "\0",
            "\xff",
        ],
    )
    def test_malformed_token_headers_are_refused(self, get, header):
        segment = base64.urlsafe_b64encode(header.encode("latin-1")).decode().rstrip("=")
        for claims in ("", "e30"):
            refused(get(bearer(f"{segment}.{claims}.e30")), 401, "Unauthorized")

    @pytest.mark.parametrize("header", [*MALFORMED, basic("a", "b")["Authorization"]])
    @pytest.mark.parametrize("path", ["/info", "/healthz", "/readyz", "/openapi.json"])
    def test_malformed_headers_are_ignored_on_open_paths(self, live_server, header, path):
        answer = send(live_server.url, "GET", path, headers={"Authorization": header})
        assert answer.http == 200
