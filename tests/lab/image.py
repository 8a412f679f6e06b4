"""The disk image of the lab's machines: Debian of this machine's release, made from packages.

``build/lab`` keeps it, until the list of packages or the files in it change. Each machine has a
view of its own of the image and changes only that.
"""

import hashlib
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BUILD = Path("build/lab")
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
    "mdadm",
    "mount",
    "nvme-cli",
    "procps",
    "python3",
    "thin-provisioning-tools",
    "udev",
    "util-linux",
    "zstd",
)


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
        raise NoLab(f"not on this machine: apt-get install --no-install-recommends {' '.join(lacking)}")
    release = _release()
    files = sorted(path for path in FILES.iterdir())
    parts = [release, *PACKAGES, *(path.read_text() for path in files)]
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
    initramfs = "$1/etc/initramfs-tools/conf.d"
    modules = f"install -D -m 644 {FILES.absolute() / 'modules'} -t $1/usr/share/initramfs-tools/modules.d"
    early = f"install -D -m 644 {FILES.absolute() / 'lab.conf'} -t {initramfs}"
    hooks = (
        f"copy-in {FILES.absolute() / 'init'} /",
        f"install -D -m 600 {folder}/key.pub $1/root/.ssh/authorized_keys",
        f"cp $1/boot/vmlinuz-* {folder}/vmlinuz",
        f"cp $1/boot/initrd.img-* {folder}/initrd.img",
        f"chmod a+r {folder}/vmlinuz",
        "rm -rf $1/boot/* $1/usr/share/doc $1/usr/share/man $1/usr/share/locale",
    )
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    command += ["--dpkgopt=force-unsafe-io", f"--essential-hook={early}"]
    command += [f"--essential-hook={modules}"]
    command += [f"--customize-hook={hook}" for hook in hooks]
    subprocess.run([*command, release, partial], check=True)
    partial.rename(made.disk)
