"""The environment variables that the system reads: every setting that differs between machines.

``manage.py settings_table`` writes ``docs/reference/settings.md`` from this file.
"""

import base64
import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal

import dj_database_url
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Seconds = Annotated[int, Field(ge=1, le=86_400)]
Csv = Annotated[tuple[str, ...], NoDecode]


DEFAULT_DATA_DIR = Path(".data")
DATA_DIR_SETTINGS = "settings.env"


class Environment(BaseSettings):
    """The settings of a process, read once at its start.

    :raises ValidationError: a variable is missing or breaks its rule.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True
    )

    settings_file: Path | None = Field(
        None,
        description="File of variables, one `NAME=value` on each line. Variables that are not set "
        "are read from it. Default: `settings.env` in DATA_DIR.",
    )
    data_dir: Path = Field(
        DEFAULT_DATA_DIR,
        description="Folder of the embedded form: database, certificates, keys, nodes.",
    )
    secret_key: SecretStr = Field(
        description="Signs sessions, and tokens unless TOKEN_KEYS is set. At least 32 characters.",
    )
    token_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Keys of local tokens, comma-separated: the first signs, all verify. "
        "Default: SECRET_KEY.",
    )
    data_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Keys of secrets in the database, comma-separated: the first encrypts, all "
        "decrypt. Default: SECRET_KEY.",
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="`postgresql://user:password@host:port/name`, or `sqlite:///path`. "
        "Default: SQLite in DATA_DIR.",
    )
    database_pool_size: int = Field(
        8,
        ge=0,
        le=500,
        description="PostgreSQL connections that a process keeps; 0: one for each thread.",
    )
    broker_url: SecretStr = Field(
        SecretStr("memory://"),
        validation_alias="REDIS_URL",
        description="Celery's broker, `redis://host:port/db`. `memory://` is for the embedded "
        "form, with worker and API in one process.",
    )
    api_host: str = Field("127.0.0.1", description="Address the API listens on.")
    api_port: int = Field(
        30100, ge=1, le=65535, description="Port of the API. Older clients use 8090."
    )
    api_workers: int = Field(1, ge=1, le=256, description="API processes of one server.")
    api_threads: int = Field(
        16,
        ge=1,
        le=512,
        description="How many requests an API process works on at once. It accepts four times as "
        "many; the others wait for their turn, at most 10 s.",
    )
    caller_requests: int = Field(
        0,
        ge=0,
        le=512,
        description="How many requests of one caller (a user, or a token by its name, roles and "
        "bindings) an API process works on at once; further ones wait. 0: three quarters of "
        "API_THREADS.",
    )
    stop_seconds: Seconds = Field(
        30, description="How long a stopping API process may finish its requests."
    )
    unready_seconds: int = Field(
        0,
        ge=0,
        le=300,
        description="How long a stopping API process still accepts requests while /readyz already "
        "answers 503. Must be longer than the load balancer needs to notice.",
    )
    public_url: str = Field(
        "",
        description="Address at which nodes reach this API; must be set in production. Default of "
        "the embedded form: https://API_HOST:API_PORT.",
    )
    allowed_hosts: Csv = Field(
        ("*",), description="Host names the API answers to, comma-separated."
    )
    tls_certificate: Path | None = Field(None, description="PEM certificate (chain) of the API.")
    tls_key: Path | None = Field(None, description="PEM key of TLS_CERTIFICATE.")
    tls_client_ca: Path | None = Field(
        None, description="PEM of the CA whose client certificates the API accepts."
    )
    require_client_certificate: bool = Field(
        False, description="Refuse callers without a client certificate of TLS_CLIENT_CA."
    )
    trusted_proxies: Csv = Field(
        (),
        description="Addresses or networks of the load balancers whose X-SSL-Client-Verify and "
        "X-Forwarded-For headers are believed, comma-separated.",
    )
    node_ca: Path | None = Field(
        None, description="PEM of the CA that signed the nodes' certificates."
    )
    node_certificate: Path | None = Field(
        None,
        description="PEM of the client certificate and key that are presented to nodes (mutual "
        "TLS), with the role provisioner: provisioner.pem of `manage.py certificates`.",
    )
    login_attempts: int = Field(
        10,
        ge=1,
        le=10_000,
        description="How many wrong passwords are allowed for one user name from one address in "
        "LOGIN_WINDOW_SECONDS; further ones are answered with 429. Ten times as many are allowed "
        "for one name from all addresses, and for all names from one address.",
    )
    login_window_seconds: Seconds = Field(
        300,
        description="After this time a name and an address may fail LOGIN_ATTEMPTS times again.",
    )
    auth_server_http: bool = Field(
        False,
        description="Also accept http addresses of an authorization server. For development only: "
        "whoever can change the traffic chooses the keys that tokens are verified with.",
    )
    auth_server_ca: Path | None = Field(
        None,
        description="PEM of the CA that signed the authorization server's certificate. Default: "
        "the system's CAs.",
    )
    node_call_seconds: int = Field(
        20,
        ge=1,
        le=25,
        description="Longest time all node calls of one request may take together.",
    )
    probe_interval_seconds: Seconds = Field(
        60, description="How often a node must probe. Unavailable after three times this time."
    )
    poll_interval_seconds: Seconds = Field(
        15, description="How often late nodes are searched for and polled."
    )
    inventory_interval_seconds: Seconds = Field(
        3600, description="How often a sample of the inventory is taken."
    )
    certificate_check_interval_seconds: Seconds = Field(
        3600, description="How often the certificates of nodes and API are looked at."
    )
    license_public_key: str = Field(
        "",
        description="Ed25519 public key that verifies licences: the base64 of its 32 bytes, as "
        "`manage.py license_key` prints it. Default: the demo key in the embedded form; otherwise "
        "none, so that no licence can be installed.",
    )
    collect_interval_seconds: Seconds = Field(
        5, description="How often unfinished and deleted objects are searched for."
    )
    unfinished_seconds: int = Field(
        60,
        ge=5,
        le=86_400,
        description="After this time the collector finishes or rolls back a change whose process "
        "died. Must be more than NODE_CALL_SECONDS.",
    )
    task_attempts: int = Field(
        10,
        ge=1,
        le=1000,
        description="How often workers may die in one step of a task before the task is FAILED.",
    )
    migration_silence_seconds: Seconds = Field(
        600,
        description="A migration is FAILED when neither its host nor a node has reported progress "
        "for this long; the same for other copies of volumes.",
    )
    node_check_interval_seconds: Seconds = Field(
        600,
        description="How often the content of a node is compared with the database. A node that "
        "was restarted is compared at once.",
    )
    orphan_grace_hours: int = Field(
        24,
        ge=1,
        le=8760,
        description="How long an object on a node that the database does not know is only "
        "reported, before it is removed.",
    )
    drain_parallel: int = Field(
        4, ge=1, le=1000, description="How many replicas of a drained node move at once."
    )
    moves_parallel: int = Field(
        16,
        ge=1,
        le=10_000,
        description="How many replicas move at once in the pool: for drains, to replace lost ones, "
        "and onto new nodes of unpublished volumes. Lost ones do not wait for drains.",
    )
    node_token_days: int = Field(
        30, ge=1, le=365, description="Life of the token that a node probes with."
    )
    task_retention_minutes: int = Field(30, ge=1, description="How long an ended task is listed.")
    migration_retention_hours: int = Field(24, ge=1, description="The same for migrations.")
    event_retention_days: int = Field(90, ge=1, le=3650, description="How long events are kept.")
    event_most: int = Field(1_000_000, ge=1000, le=10**9, description="How many events, about.")
    event_syslog: Literal["off", "info", "warning", "error", "critical"] = Field(
        "off",
        description="Forward events of this severity or higher to the pool's syslog servers.",
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
        description="IANA's number of the enterprise in the name of forwarded parameters, "
        "`parameters@32473`. The default is that of examples (RFC 5612).",
    )
    syslog_retry_minutes: int = Field(
        1440,
        ge=1,
        le=43_200,
        description="How long a record that a syslog server does not accept is kept and sent "
        "again.",
    )
    syslog_most_records: int = Field(
        10_000,
        ge=1,
        le=10_000_000,
        description="How many records may wait for one syslog server; further records are dropped "
        "and counted (`provisioner_syslog_records_dropped_total`).",
    )
    syslog_most_bytes: int = Field(
        64 * 2**20,
        ge=2**17,
        le=2**40,
        description="How many bytes of records may wait for one syslog server.",
    )
    max_body_bytes: int = Field(1_048_576, ge=1024, description="Largest request body.")
    worker_metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port on which a Celery worker serves its own metrics, on all addresses and "
        "without credentials; 0: none. They name jobs and nodes, but no tenants or volumes.",
    )
    metrics_open: bool = Field(False, description="Answer GET /metrics without credentials.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Log level."
    )
    log_format: Literal["json", "text"] = Field("json", description="Form of the log lines.")
    debug: bool = Field(False, description="Django's debug mode. Never in production.")

    @field_validator("allowed_hosts", "trusted_proxies", "token_keys", "data_keys", mode="before")
    @classmethod
    def split(cls, value: object) -> object:
        return (
            [p.strip() for p in value.split(",") if p.strip()] if isinstance(value, str) else value
        )

    @field_validator("secret_key")
    @classmethod
    def long_enough(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < 32:
            raise ValueError("must have at least 32 characters")
        return value

    @field_validator("token_keys", "data_keys")
    @classmethod
    def keys_long_enough(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < 32 for key in value):
            raise ValueError("each key must have at least 32 characters")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @field_validator("license_public_key")
    @classmethod
    def is_a_key(cls, value: str) -> str:
        if value and len(base64.b64decode(value, validate=True)) != 32:
            raise ValueError("must be the base64 of 32 bytes")
        return value

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
                "REQUIRE_CLIENT_CERTIFICATE needs TLS_CLIENT_CA, or TRUSTED_PROXIES that check "
                "certificates"
            )
        if self.api_workers > 1 and self.is_embedded:
            raise ValueError("API_WORKERS above 1 needs a REDIS_URL: memory:// is of one process")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("TLS_CERTIFICATE and TLS_KEY go together")
        if self.tls_client_ca and not self.tls_certificate:
            raise ValueError("TLS_CLIENT_CA needs TLS_CERTIFICATE: it is TLS that verifies clients")
        if self.unfinished_seconds <= self.node_call_seconds:
            raise ValueError("UNFINISHED_SECONDS must be more than NODE_CALL_SECONDS")
        return self

    @property
    def api_places(self) -> int:
        """How many requests an API process accepts: a thread for each, most of which wait."""
        return 4 * self.api_threads

    @property
    def url_for_nodes(self) -> str:
        """The address at which nodes reach the API."""
        return self.public_url or f"https://{self.api_host}:{self.api_port}"

    @property
    def is_embedded(self) -> bool:
        """Whether everything runs in one process, with SQLite and a broker in memory."""
        return self.broker_url.get_secret_value().startswith("memory")


def variable_name(field: str) -> str:
    """The environment variable of a field of :class:`Environment`."""
    alias = Environment.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else field.upper()


def load() -> Environment:
    """Read the environment, or end the process with one sentence that names variable and rule.

    Variables that are not set are read from the file SETTINGS_FILE or, without one, from
    ``settings.env`` in DATA_DIR, which the embedded form writes.
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
    """The file of variables.

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
