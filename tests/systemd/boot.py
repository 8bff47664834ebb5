"""Boots systemd in a container of its own and runs a program in there.

Usage: boot.py FOLDER PROGRAM [ARGUMENT...]

The container has its own processes, mounts, network, host name and control
groups. It sees this machine's files, but what it writes is in memory and gone
with it; FOLDER is copied to /handoff-test. PROGRAM runs beside systemd; its exit
code is ours.

Whatever happens to us, everything ends with us: a process of its own waits for
our end, kills what is in the control group, and removes that. Of the machine
itself nothing else is touched.

Needs root, Linux 5.14 with version 2 of control groups mounted somewhere, and
overlayfs. Where the machine cannot: exit code 70 and a line that says why.
"""

import glob
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time

CANNOT = 70
BOOT_SECONDS = 60

# Runs as the container's first process, with the mounts still this machine's.
SETUP = r"""
set -euo pipefail
scratch=$1 folder=$2
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$scratch"
mkdir "$scratch"/{upper,work,root}
mount -t overlay \
  -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" \
  overlay "$scratch/root"
cd "$scratch/root"
mount -t proc proc proc
echo 512 >proc/sys/net/unix/max_dgram_qlen
# What is not of a namespace is this machine's: it stays as it is.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
for each in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs $each; done
chmod 1777 tmp
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
mkdir dev/shm dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t cgroup2 cgroup2 sys/fs/cgroup
mkdir handoff-test
cp -rL "$folder/." handoff-test/
# Only what is asked for is to run, not what this machine would boot with.
for each in etc/systemd/system usr/local/lib/systemd/system \
  usr/lib/systemd/system/*.wants \
  usr/lib/systemd/system-generators etc/systemd/system-generators \
  usr/lib/systemd/system-environment-generators; do
  [[ ! -d $each ]] || mount -t tmpfs tmpfs $each
done
mkdir -p etc/systemd/system
printf '%s\n' '[Unit]' 'DefaultDependencies=no' \
  'Wants=systemd-journald.service' 'After=systemd-journald.service' \
  >etc/systemd/system/handoff-test.target
mkdir handoff-test/before
pivot_root . handoff-test/before
cd /
umount -l /handoff-test/before
export container=handoff-test PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec /lib/systemd/systemd --system --unit=handoff-test.target \
  --log-target=journal --show-status=no </dev/null
"""


def cannot(why):
    print(f"boot.py: this machine cannot boot systemd: {why}", file=sys.stderr)
    sys.exit(CANNOT)


def control_groups():
    """Where version 2 of control groups is mounted."""
    with open("/proc/mounts") as mounts:
        for line in mounts:
            _, path, kind, *_ = line.split()
            if kind == "cgroup2":
                return path
    cannot("no cgroup2 is mounted")


def remove_group(group):
    """Kills what is in `group` and removes it."""
    try:
        with open(f"{group}/cgroup.kill", "w") as kill:
            kill.write("1")
    except OSError:
        pass
    deadline = time.monotonic() + 20
    while os.path.isdir(group) and time.monotonic() < deadline:
        for folder, _, _ in os.walk(group, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                pass
        time.sleep(0.02)


def sweep(root):
    """Removes the groups of earlier runs, which have ended."""
    for group in glob.glob(f"{root}/handoff-test-*"):
        if not os.path.isdir(f"/proc/{group.rsplit('-', 1)[1]}"):
            remove_group(group)


def start_remover(group, scratch):
    """Has `group` removed when this process ends, or closes the descriptor that
    is returned; and the pid of who does it."""
    theirs, ours = os.pipe()
    remover = os.fork()
    if remover == 0:
        os.setsid()
        os.close(ours)
        # Nobody is to wait for us because of these.
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.read(theirs, 1)
        remove_group(group)
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(0)
    os.close(theirs)
    return ours, remover


def await_boot(init, container, scratch):
    deadline = time.monotonic() + BOOT_SECONDS
    enter = ["nsenter", "--target", str(init), "--all", "--"]
    while time.monotonic() < deadline:
        if container.poll() is not None:
            break
        try:
            asked = subprocess.run(
                enter + ["systemctl", "is-active", "handoff-test.target"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                timeout=BOOT_SECONDS,
            )
            if asked.stdout.strip() == "active":
                return enter
        except subprocess.TimeoutExpired:
            pass
        time.sleep(0.05)
    with open(f"{scratch}/output") as output:
        cannot(f"systemd is not up: {output.read().strip()}")


def first_child(pid, deadline):
    path = f"/proc/{pid}/task/{pid}/children"
    while time.monotonic() < deadline:
        with open(path) as children:
            found = children.read().split()
        if found:
            return int(found[0])
        time.sleep(0.01)
    cannot("unshare(1) starts nothing")


def main():
    folder, program = sys.argv[1], sys.argv[2:]
    if os.geteuid() != 0:
        cannot("it takes root")
    for tool in ("unshare", "nsenter", "systemctl", "/lib/systemd/systemd"):
        if shutil.which(tool) is None:
            cannot(f"there is no {tool}; tools/setup installs it")
    root = control_groups()
    sweep(root)
    group = f"{root}/handoff-test-{os.getpid()}"
    scratch = tempfile.mkdtemp(prefix="handoff-test.", dir="/tmp")
    keep, remover = start_remover(group, scratch)
    try:
        os.mkdir(group)
    except OSError as error:
        cannot(f"{group}: {error}")

    def join():
        with open(f"{group}/cgroup.procs", "w") as procs:
            procs.write(str(os.getpid()))

    with open(f"{scratch}/output", "w") as output:
        os.mkdir(f"{scratch}/mount")
        container = subprocess.Popen(
            ["unshare", "--fork", "--kill-child", "--pid", "--mount", "--net"]
            + ["--ipc", "--uts", "--cgroup", "bash", "-c", SETUP, "setup"]
            + [f"{scratch}/mount", folder],
            preexec_fn=join,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    init = first_child(container.pid, time.monotonic() + 10)
    enter = await_boot(init, container, scratch)
    code = subprocess.run(enter + program).returncode
    os.close(keep)
    container.wait()
    os.waitpid(remover, 0)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
