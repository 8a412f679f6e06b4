"""The probe that a node sends to its provisioner, ``POST {url}/probe`` (reference, "Probe")."""

from pydantic import Field

from inventory.nodes.wire_base import BytesOfNode, Identifier, NewestGeneration, PerSecond, Wire


class Changes:
    """Bits of ``changes`` in a probe (reference, "Probe")."""

    PORTALS = 1
    SYSLOGS = 2


class Probe(Wire):
    """The body of a probe (reference, "Probe")."""

    persistent_id: Identifier = Field(alias="persistentID")
    available_capacity: BytesOfNode
    total_capacity: BytesOfNode
    used_bw: PerSecond = Field(alias="usedBW")
    total_bw: PerSecond = Field(alias="totalBW")
    used_iops: PerSecond = Field(alias="usedIOPS")
    total_iops: PerSecond = Field(alias="totalIOPS")
    mgmt_ips: tuple[str, ...] = Field(alias="mgmtIPs")
    mgmt_port: int
    provisioner: dict[str, object]
    version: str
    number_of_ssds: int = Field(alias="numberOfSSDs")
    certified: bool
    target_driver_version: str
    changes: int
    authentication_mode: str
    boot_id: str = ""
    newest_generation: NewestGeneration = 0
    sent_at: int = 0
    """By the node's clock, in milliseconds since 1970; 0: not known."""
