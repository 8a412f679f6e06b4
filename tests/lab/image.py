"""The disk image of the lab's machines: Debian of this machine's release, made from packages.

``build/lab`` keeps it, until the list of packages or the files in it change. Each machine has a
view of its own of the image and changes only that.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BUILD = Path("build/lab")
DISK_BYTES = 2 * 2**30
HERE = Path(__file__).parent
FILES = HERE / "files"
PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "genext2fs": "genext2fs",
    "qemu-system-x86_64": "qemu-system-x86",
    "ssh": "openssh-client",
}
"""What the lab runs on this machine, and the Debian package of each."""
PACKAGES = (
    "dmsetup",
    "dropbear-bin",
    "e2fsprogs",
    "initramfs-tools",
    "iproute2",
    "kmod",
    "linux-image-amd64",
    "lvm2",
    "make",
    "mdadm",
    "mount",
    "nvme-cli",
    "procps",
    "python3",
    "sudo",
    "systemd-sysv",
    "thin-provisioning-tools",
    "udev",
    "util-linux",
    "zstd",
)
UNUSED = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer")
"""Units that would only take time."""


class NoLab(Exception):
    """The lab cannot run on this machine; the text says why, and what to do."""


@dataclass(frozen=True)
class Image:
    disk: Path
    kernel: Path
    initrd: Path
    key: Path


def image() -> Image:
    """The image, which is made if there is none of these packages and files.

    :raises NoLab: this machine lacks a program, or runs another system or Python than the image.
    """
    lacking = sorted(package for name, package in PROGRAMS.items() if not shutil.which(name))
    if lacking:
        raise NoLab(f"missing Debian packages: {' '.join(lacking)}")
    release = _release()
    files = sorted(path for path in FILES.iterdir())
    parts = [release, *(path.read_text() for path in (Path(__file__), *files))]
    folder = BUILD / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    made = Image(*(folder / name for name in ("disk.ext2", "vmlinuz", "initrd.img", "key")))
    if not made.disk.is_file():
        shutil.rmtree(BUILD, ignore_errors=True)
        folder.mkdir(parents=True)
        _make(made, release)
    return made


def _release() -> str:
    names = platform.freedesktop_os_release()
    if names["ID"] != "debian":
        raise NoLab(f"the lab shares its Python packages with Debian, and this is {names['ID']}")
    return names["VERSION_CODENAME"]


def _make(made: Image, release: str) -> None:
    """Make the image; takes some minutes. What is half made has another name."""
    print(f"Making the image of the lab's machines in {made.disk.parent}", file=sys.stderr)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", made.key], check=True)
    folder = made.disk.parent.absolute()
    partial = made.disk.with_name("partial.ext2")
    install, files = "install -D -m 644 -t $1", FILES.absolute()
    early = (
        f"{install}/etc/initramfs-tools/conf.d {files}/lab.conf",
        f"{install}/usr/share/initramfs-tools/modules.d {files}/modules",
    )
    hooks = (
        f"copy-in {files}/init {files}/lab-up /",
        f"install -D -m 644 -t $1/etc/systemd/system {files}/lab.service",
        "chroot $1 systemctl enable lab.service",
        f"chroot $1 systemctl mask {' '.join(UNUSED)}",
        f"install -D -m 600 {folder}/key.pub $1/root/.ssh/authorized_keys",
        f"cp $1/boot/vmlinuz-* {folder}/vmlinuz",
        f"cp $1/boot/initrd.img-* {folder}/initrd.img",
        f"chmod a+r {folder}/vmlinuz",
        "rm -rf $1/boot/* $1/usr/share/doc $1/usr/share/man $1/usr/share/locale",
    )
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    command += ["--dpkgopt=force-unsafe-io"]
    command += [f"--essential-hook={hook}" for hook in early]
    command += [f"--customize-hook={hook}" for hook in hooks]
    subprocess.run([*command, release, partial], check=True)
    os.truncate(partial, DISK_BYTES)
    subprocess.run(["/usr/sbin/resize2fs", "-f", partial], check=True)
    # with a journal, the file system is whole after a power failure
    subprocess.run(["/usr/sbin/tune2fs", "-j", partial], check=True)
    partial.rename(made.disk)
