"""Debian with its own kernel, under emulation: for what a container shows of another kernel.

AppArmor, limits of control groups, and the nftables of just this kernel.  Slow: minutes.
"""

import subprocess
import tempfile
from pathlib import Path

from package.boot import APT, BASE, ENVIRONMENT, base_tree, isolated

NEEDED = "linux-image-cloud-amd64 initramfs-tools zstd apparmor nginx-light"
UNIT = """\
[Unit]
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=file:/dev/ttyS1
StandardError=file:/dev/ttyS1
ExecStart=/bin/sh /root/script
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=graphical.target
"""
QUIET = "serial-getty@ttyS0.service getty@tty1.service console-getty.service"
PATIENCE = 600

# In a mount namespace: the image is filled from layers over the base tree.
MAKE = """set -e
mkdir -p {kernel} {kernel}.work {at} {top}/upper {top}/work
inside() {{ chroot {at} {environment} "$@"; }}
if [ ! -e {kernel}.made ]; then
    mount -t overlay overlay -o lowerdir={tree},upperdir={kernel},workdir={kernel}.work {at}
    mount --bind /proc {at}/proc
    printf '#!/bin/sh\\nexit 101\\n' >{at}/usr/sbin/policy-rc.d
    chmod 755 {at}/usr/sbin/policy-rc.d
    inside {apt} update
    inside {apt} install {needed}
    inside systemctl mask -q {quiet}
    umount {at}/proc
    umount {at}
    touch {kernel}.made
fi
mount -t overlay overlay -o lowerdir={kernel}:{tree},upperdir={top}/upper,workdir={top}/work {at}
mount --bind /proc {at}/proc
cp {deb} {at}/root/package.deb
inside {apt} update
inside {apt} install /root/package.deb
rm {at}/usr/sbin/policy-rc.d
cp {top}/script {at}/root/script
cp {top}/unit {at}/etc/systemd/system/script.service
inside systemctl enable -q script.service
umount {at}/proc
cp $(ls {at}/boot/vmlinuz-* | tail -n 1) {top}/vmlinuz
cp $(ls {at}/boot/initrd.img-* | tail -n 1) {top}/initrd
truncate -s 2G {top}/disk
mke2fs -q -t ext4 -d {at} {top}/disk
"""


def run(suite: str, deb: Path, script: str) -> str:
    """Boot a disk with the package on it, run a script there, and return what it says."""
    tree = base_tree(suite)
    with tempfile.TemporaryDirectory(dir=BASE) as name:
        top = Path(name)
        (top / "script").write_text(script)
        (top / "unit").write_text(UNIT)
        make = MAKE.format(
            tree=tree, kernel=BASE / f"kernel-{suite}", at=BASE / f"at-{suite}", top=top, deb=deb,
            environment=" ".join(ENVIRONMENT), apt=" ".join(APT), needed=NEEDED, quiet=QUIET,
        )  # fmt: skip
        isolated(make)
        _emulate(top)
        return (top / "said").read_text(errors="replace")


def _emulate(top: Path) -> None:
    words = (
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1024"),
        *("-smp", "2", "-kernel", f"{top}/vmlinuz", "-initrd", f"{top}/initrd", "-append"),
        "root=/dev/vda rw console=ttyS0 systemd.show_status=0 apparmor=1 security=apparmor",
        *("-drive", f"file={top}/disk,if=virtio,format=raw", "-nic", "none", "-display", "none"),
        *("-monitor", "none", "-serial", f"file:{top}/console", "-serial", f"file:{top}/said"),
        "-no-reboot",
    )
    subprocess.run(words, stdin=subprocess.DEVNULL, check=True, timeout=PATIENCE)
