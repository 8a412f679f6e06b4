"""Keeps other programs of the machine away from volumes.

A host may create a RAID array, a volume group or a file system on its volume. Without this rule,
udev of the node would find it there, and start the array or the volume group on the node: they
would write to the volume, and the agent could not remove it.
"""

import logging

from inventory.nodes.engines.linux.kernel import CommandFailed, Kernel, Stuck
from inventory.nodes.engines.linux.names import VG_PREFIX

RULES = "/run/udev/rules.d/57-provisioner.rules"
"""On Debian, after 55-dm.rules and 56-lvm.rules, which give a device its name, and before
60-persistent-storage-dm.rules, which reads its content. Elsewhere that is read earlier, so the rule
also removes what was found there. The file disappears with a restart of the machine, and nothing
activates volumes before the agent.
"""
RULE = f"""\
# the content of these devices belongs to hosts: no other program of this machine may use it
SUBSYSTEM=="block", ENV{{DM_NAME}}=="{VG_PREFIX}-*|{VG_PREFIX}h-*", ENV{{ID_FS_TYPE}}="", \
ENV{{DM_UDEV_DISABLE_DISK_RULES_FLAG}}="1", ENV{{DM_UDEV_DISABLE_OTHER_RULES_FLAG}}="1"
"""

log = logging.getLogger(__name__)


async def guard_volumes(kernel: Kernel) -> None:
    """Write the rule. A machine without udev needs none, so a failure is only logged."""
    write = ("install", "-D", "--mode=644", "/dev/stdin", RULES)
    try:
        for command, text in ((write, RULE), (("udevadm", "control", "--reload"), "")):
            output = await kernel.run(*command, text=text)
            if output.code:
                raise CommandFailed(command, output.code, output.err)
    except (CommandFailed, Stuck) as error:
        log.warning("udev has no rule for volumes, so it may start arrays of hosts: %s", error)
