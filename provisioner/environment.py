"""The environment variables of the system. ``manage.py settings_table`` documents them."""

import os
from pathlib import Path
from typing import ClassVar, Literal

import dj_database_url
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from provisioner.setting_types import Csv, Key, Keys, Networks, PublicKey, Seconds

MOST_TOKEN_DAYS = 365
"""Longest life of any token that the provisioner issues."""
SPARE_CONNECTIONS = 8
"""Connections of a process beside those of API_THREADS requests: for long lists, for requests that
authenticate before they may run, and for threads that keep data fresh."""
LEAST_SPARE_CONNECTIONS = 4
DEFAULT_DATA_DIR = Path(".data")
DATA_DIR_SETTINGS = "settings.env"


class Environment(BaseSettings):
    """The settings of a process, or ValidationError if a variable is missing or breaks its rule."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True
    )
    _mask_wrapped: ClassVar[bool] = True  # Django's settings read it at each access

    settings_file: Path | None = Field(
        None,
        description="File with one `NAME=value` on each line. Variables that are not set in the "
        "environment are read from it. Default: `settings.env` in DATA_DIR.",
    )
    data_dir: Path = Field(
        DEFAULT_DATA_DIR,
        description="Folder of the embedded form: database, certificates, keys, nodes.",
    )
    secret_key: Key = Field(
        description="Signs sessions, and tokens unless TOKEN_KEYS is set. At least 32 characters.",
    )
    token_keys: Keys = Field(
        (),
        description="Keys of local tokens, comma-separated. The first key signs, all keys "
        "verify. Default: SECRET_KEY.",
    )
    data_keys: Keys = Field(
        (),
        description="Keys of secrets in the database, comma-separated. The first key encrypts, "
        "all keys decrypt. Default: SECRET_KEY.",
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="`postgresql://user:password@host:port/name`, or `sqlite:///path`. "
        "Default: SQLite in DATA_DIR.",
    )
    database_pool_size: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="PostgreSQL connections of a process, at most. 0: one for each thread. It must "
        "be 0, or at least API_THREADS plus 4. Default: API_THREADS plus 8.",
    )
    broker_url: SecretStr = Field(
        SecretStr("memory://"),
        validation_alias="REDIS_URL",
        description="Celery's broker, `redis://host:port/db`. `memory://` is for the embedded "
        "form, with worker and API in one process.",
    )
    api_host: str = Field("127.0.0.1", description="Address on which the API listens.")
    api_port: int = Field(
        30100, ge=1, le=65535, description="Port of the API. Older clients use 8090."
    )
    api_workers: int = Field(1, ge=1, le=256, description="Number of API processes of a gunicorn.")
    api_threads: int = Field(
        16,
        ge=1,
        le=512,
        description="Number of requests that an API process works on at once. It accepts four "
        "times as many; the others wait, 10 s at most.",
    )
    caller_requests: int = Field(
        0,
        ge=0,
        le=512,
        description="Number of requests of one caller that an API process works on at once; "
        "further requests of the caller wait. A caller is a host, a node, a user with all its "
        "tokens, or all other tokens of one name and tenant. 0: three quarters of API_THREADS.",
    )
    stop_seconds: Seconds = Field(
        30, description="Time that an API process has to finish its requests when it is stopped."
    )
    unready_seconds: int = Field(
        0,
        ge=0,
        le=300,
        description="Time during which a stopping API process answers /readyz with 503 but still "
        "accepts requests. It must be longer than the load balancer needs to notice.",
    )
    public_url: str = Field(
        "",
        description="Address by which nodes reach this API. It must be set in production. "
        "Default of the embedded form: https://API_HOST:API_PORT.",
    )
    allowed_hosts: Csv = Field(
        ("*",), description="Host names that the API accepts, comma-separated."
    )
    tls_certificate: Path | None = Field(None, description="PEM certificate (chain) of the API.")
    tls_key: Path | None = Field(None, description="PEM key of TLS_CERTIFICATE.")
    tls_client_ca: Path | None = Field(
        None, description="PEM of the CA that signs the client certificates of callers."
    )
    require_client_certificate: bool = Field(
        False, description="Refuse callers without a client certificate that TLS_CLIENT_CA signed."
    )
    trusted_proxies: Networks = Field(
        (),
        description="Load balancers (addresses or networks, comma-separated) that may set "
        "X-SSL-Client-Verify, X-SSL-Client-Cert, X-Forwarded-For and X-Forwarded-Proto.",
    )
    node_ca: Path | None = Field(
        None, description="PEM of the CA that signs the certificates of nodes."
    )
    node_certificate: Path | None = Field(
        None,
        description="PEM of the certificate and key that the provisioner presents to nodes "
        "(mutual TLS): provisioner.pem of `manage.py certificates`.",
    )
    login_attempts: int = Field(
        10,
        ge=1,
        le=10_000,
        description="Number of wrong passwords that are allowed for one user name from one "
        "address in LOGIN_WINDOW_SECONDS. Further attempts are answered with 429. Ten times as "
        "many are allowed for one name from all addresses, and for all names from one address.",
    )
    login_window_seconds: Seconds = Field(
        300, description="Time in which wrong passwords are counted for LOGIN_ATTEMPTS."
    )
    auth_server_http: bool = Field(
        False,
        description="Also accept http addresses of an authorization server. For development "
        "only: over http, an attacker in the network can replace the keys that verify tokens.",
    )
    auth_server_ca: Path | None = Field(
        None,
        description="PEM of the CA that signs the authorization server's certificate. Default: "
        "the CAs of the operating system.",
    )
    node_call_seconds: int = Field(
        20, ge=1, le=25, description="Longest total time of all node calls of one request."
    )
    probe_interval_seconds: Seconds = Field(
        60,
        description="Interval of a node's probes. A node that is silent for three intervals "
        "is Unavailable.",
    )
    poll_interval_seconds: Seconds = Field(
        15, description="Interval of the poll, which reads nodes whose probes are late."
    )
    inventory_interval_seconds: Seconds = Field(
        3600, description="Interval of the samples of the inventory."
    )
    certificate_check_interval_seconds: Seconds = Field(
        3600, description="Interval in which the certificates of nodes and the API are checked."
    )
    license_public_key: PublicKey = Field(
        "",
        description="Ed25519 public key that verifies licences: the base64 of its 32 bytes, as "
        "printed by `manage.py license_key`. Default: the demo key in the embedded form; "
        "otherwise none, and then no licence can be installed.",
    )
    collect_interval_seconds: Seconds = Field(
        5, description="Interval of the collector, and of relocation."
    )
    unfinished_seconds: int = Field(
        60,
        ge=5,
        le=86_400,
        description="Time after which the collector finishes or rolls back a change whose "
        "process died. It must be longer than NODE_CALL_SECONDS.",
    )
    task_attempts: int = Field(
        10,
        ge=1,
        le=1000,
        description="Number of times that workers may die in one step of a task. Then the task "
        "is FAILED.",
    )
    migration_silence_seconds: Seconds = Field(
        600,
        description="A migration is FAILED when neither its host nor a node has reported progress "
        "for this time. The same applies to other copies of volumes.",
    )
    node_check_interval_seconds: Seconds = Field(
        600,
        description="Interval in which each node is compared with the database. A node that was "
        "restarted is compared at once.",
    )
    orphan_grace_hours: int = Field(
        24,
        ge=1,
        le=8760,
        description="An object on a node that the database does not know is reported for this "
        "time and then removed.",
    )
    drain_parallel: int = Field(
        4, ge=1, le=1000, description="Number of replicas of a drained node that move at once."
    )
    moves_parallel: int = Field(
        16,
        ge=1,
        le=10_000,
        description="Greatest number of concurrent relocations and rebuilds in the pool: drains, "
        "lost replicas, and unpublished volumes. Lost replicas do not wait for drains.",
    )
    node_token_days: int = Field(
        30, ge=1, le=MOST_TOKEN_DAYS, description="Days for which a node's token is valid."
    )
    task_retention_minutes: int = Field(30, ge=1, description="How long an ended task is listed.")
    migration_retention_hours: int = Field(
        24, ge=1, description="How long an ended migration is listed."
    )
    event_retention_days: int = Field(90, ge=1, le=3650, description="How long events are kept.")
    event_most: int = Field(
        1_000_000, ge=1000, le=10**9, description="Approximate greatest number of kept events."
    )
    event_syslog: Literal["off", "info", "warning", "error", "critical"] = Field(
        "off", description="Lowest severity of events that are forwarded to syslog servers."
    )
    syslog_facility: int = Field(
        16,
        ge=0,
        le=23,
        description="Facility of forwarded syslog records (RFC 5424, table 1); 16 is local0.",
    )
    syslog_enterprise_number: int = Field(
        32473,
        ge=1,
        le=2**32 - 1,
        description="Enterprise number (IANA) in the name of forwarded parameters, such as "
        "`parameters@32473`. The default is reserved for examples (RFC 5612).",
    )
    syslog_retry_minutes: int = Field(
        1440,
        ge=1,
        le=43_200,
        description="Time for which a record that a syslog server does not accept is kept and "
        "sent again.",
    )
    syslog_most_records: int = Field(
        10_000,
        ge=1,
        le=10_000_000,
        description="Greatest number of records that wait for one syslog server. Further records "
        "are dropped and counted (`provisioner_syslog_records_dropped_total`).",
    )
    syslog_most_bytes: int = Field(
        64 * 2**20,
        ge=2**17,
        le=2**40,
        description="Greatest number of bytes of records that wait for one syslog server.",
    )
    max_body_bytes: int = Field(131_072, ge=1024, description="Largest request body.")
    worker_metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port of a Celery worker's metrics, on all addresses and without credentials; "
        "0: none. The metrics name jobs and nodes, but no tenants or volumes.",
    )
    metrics_open: bool = Field(False, description="Answer GET /metrics without credentials.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Log level."
    )
    log_format: Literal["json", "text"] = Field("json", description="Format of the log lines.")
    debug: bool = Field(False, description="Django's debug mode. Never in production.")

    @field_validator("allowed_hosts", "trusted_proxies", "token_keys", "data_keys", mode="before")
    @classmethod
    def split(cls, value: object) -> object:
        return (
            [p.strip() for p in value.split(",") if p.strip()] if isinstance(value, str) else value
        )

    @field_validator("database_url")
    @classmethod
    def known_database(cls, value: SecretStr) -> SecretStr:
        if url := value.get_secret_value():
            if not url.startswith(("postgresql://", "postgres://", "sqlite://")):
                raise ValueError("must be a postgresql:// or sqlite:// address")
            dj_database_url.parse(url)
        return value

    @field_validator("broker_url")
    @classmethod
    def known_broker(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("redis://", "rediss://", "memory://")):
            raise ValueError("must be a redis://, rediss:// or memory:// address")
        return value

    @model_validator(mode="after")
    def consistent(self) -> "Environment":
        if self.require_client_certificate and not (self.tls_client_ca or self.trusted_proxies):
            raise ValueError(
                "REQUIRE_CLIENT_CERTIFICATE needs TLS_CLIENT_CA, or TRUSTED_PROXIES that verify "
                "certificates"
            )
        if self.api_workers > 1 and self.is_embedded:
            raise ValueError(
                "API_WORKERS above 1 needs a REDIS_URL: memory:// works only within one process"
            )
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("TLS_CERTIFICATE and TLS_KEY must be set together")
        if self.tls_client_ca and not self.tls_certificate:
            raise ValueError(
                "TLS_CLIENT_CA needs TLS_CERTIFICATE: client certificates are "
                "verified only over TLS"
            )
        if 0 < self.pool_size < self.api_threads + LEAST_SPARE_CONNECTIONS:
            raise ValueError("DATABASE_POOL_SIZE must be 0, or at least API_THREADS plus 4")
        if self.unfinished_seconds <= self.node_call_seconds:
            raise ValueError("UNFINISHED_SECONDS must be more than NODE_CALL_SECONDS")
        return self

    @property
    def api_places(self) -> int:
        """The number of requests, each with a thread, that an API process accepts at once."""
        return 4 * self.api_threads

    @property
    def pool_size(self) -> int:
        """The number of PostgreSQL connections of a process, at most. 0: one for each thread."""
        if self.database_pool_size is None:
            return self.api_threads + SPARE_CONNECTIONS
        return self.database_pool_size

    @property
    def url_for_nodes(self) -> str:
        """The URL at which nodes reach the API."""
        return self.public_url or f"https://{self.api_host}:{self.api_port}"

    @property
    def is_embedded(self) -> bool:
        """Whether the whole system runs in one process, with SQLite and an in-memory broker."""
        return self.broker_url.get_secret_value().startswith("memory")


def variable_name(field: str) -> str:
    """Return the environment variable of a field of :class:`Environment`."""
    alias = Environment.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else field.upper()


def load() -> Environment:
    """Read the settings, also from the file SETTINGS_FILE (default: ``settings.env`` in DATA_DIR).
    If they are wrong, end the process with one sentence that names the variable and the rule.
    """
    try:
        return Environment(_env_file=_settings_file())
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        name = variable_name(field) if field in Environment.model_fields else field
        rule = first["msg"].removeprefix("Value error, ")
        subject = f"{name}: " if name else ""
        raise SystemExit(f"provisioner: wrong setting: {subject}{rule}.") from None


def _settings_file() -> Path:
    """Return the path of the file with variables.

    :raises SystemExit: SETTINGS_FILE is set, but cannot be read.
    """
    named = os.environ.get("SETTINGS_FILE")
    if not named:
        return Path(os.environ.get("DATA_DIR") or DEFAULT_DATA_DIR) / DATA_DIR_SETTINGS
    try:
        Path(named).read_bytes()
    except OSError as error:
        raise SystemExit(f"provisioner: wrong setting: SETTINGS_FILE: {error}.") from None
    return Path(named)
