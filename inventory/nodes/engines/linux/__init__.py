"""The engine over the Linux kernel: LVM thin pools and the kernel's NVMe-oF target."""
