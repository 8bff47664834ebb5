"""The units of server/deploy/systemd under a real systemd, which boot.py boots.

Usage: cases.py [CASE...]
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import traceback

import grpc

from service import (
    LOG,
    PORT,
    Failed,
    Kept,
    Load,
    Unit,
    await_paused,
    await_that,
    check,
    get,
    hang_loops_of,
    kill,
    pause_nobody,
    pause_successor_at,
    run,
    whoami,
    write,
)

ONE = Unit("handoff-server.service")
BLUE = Unit("handoff-server@blue.service")
GREEN = Unit("handoff-server@green.service")
SERVER = "/usr/bin/handoff_server"
UNITS = ("handoff-server.service", "handoff-server@.service")
CHAT = "/handoff.server.v1.EchoService/Chat"
# Watches that end by themselves, and that do not.
SHORT, LONG = "300ms", "1h"


def install():
    """As a package would, and what the tests add in /etc."""
    for path in (
        SERVER,
        "/usr/bin/handoff",
        "/usr/lib/handoff-server/blue/handoff_server",
        "/usr/lib/handoff-server/green/handoff_server",
    ):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy(f"/handoff-test/{os.path.basename(path)}", path)
        os.chmod(path, 0o755)
    for unit in UNITS + ("handoff-server.socket",):
        shutil.copy(f"/handoff-test/{unit}", "/etc/systemd/system")
    with open("/etc/passwd", "a") as passwd:
        passwd.write("handoff-server:x:977:977::/nonexistent:/usr/sbin/nologin\n")
    with open("/etc/group", "a") as group:
        group.write("handoff-server:x:977:\n")
    # What they were stays to be seen, where nothing else refers to them.
    write(
        "/etc/systemd/system/handoff-test.target.d/keep.conf",
        f"[Unit]\nAfter={ONE.name} {BLUE.name} {GREEN.name}\n",
    )
    for unit in UNITS:
        write(
            f"/etc/systemd/system/{unit}.d/test.conf",
            # There is no journal here. The library is told what to do by files.
            f"[Service]\nStandardOutput=append:{LOG}\nStandardError=append:{LOG}\n"
            "Environment=LD_PRELOAD=/handoff-test/pause_shim.so\n",
        )
    configure(SHORT)


def configure(watch, more="", watchdog="30s"):
    """For the next start of either."""
    write(
        "/etc/default/handoff-server",
        f'OPTIONS="--http=tcp:127.0.0.1:{PORT} --watch={watch} '
        f'--drain_deadline=10s {more}"\n',
    )
    for unit in UNITS:
        write(
            f"/etc/systemd/system/{unit}.d/watchdog.conf",
            f"[Service]\nWatchdogSec={watchdog}\n",
        )
    run("systemctl", "daemon-reload")


def the_units_are_valid():
    for unit in UNITS + ("handoff-server.socket",):
        name = unit.replace("@", "@blue")
        said = run("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{name}")
        check(said == "", f"systemd-analyze verify {name}: {said}")


def reloads_under_load_lose_nothing():
    configure(SHORT)
    ONE.start()
    kept = Kept()
    load = Load()
    pids = [ONE.pid]
    for generation in (2, 3, 4):
        ONE.reload()
        pids.append(ONE.pid)
        ONE.check_active()
        check(whoami()["generation"] == generation, "no new generation")
        load.more()
        await_that("the old one ends", lambda: ONE.pids() == [ONE.pid])
    check(len(set(pids)) == 4, f"MainPID= was {pids}")
    check(kept.whoami()["handoffs"] == 3, "the kept connection has not moved thrice")
    requests = load.end()
    ONE.check_active()
    return f"{requests} requests, 0 failed, MainPID {' -> '.join(map(str, pids))}"


def reload_in_background():
    return subprocess.Popen(
        ["systemctl", "reload", ONE.name],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def to_paused(event):
    def bring():
        pause_successor_at(event, ONE.pid)
        reload_in_background()
        await_paused(ONE, ONE.pid)
        pause_nobody()

    return bring


def to_watch():
    reload_in_background()
    ONE.await_status("watching it until")


def to_draining():
    channel = grpc.insecure_channel("127.0.0.1:8081")
    stream = channel.stream_stream(CHAT)(endless())
    next(stream)
    run("systemctl", "reload", ONE.name)
    check(len(ONE.pids()) == 2, "nobody drains")
    check(ONE.show("ActiveState") == "active", "it is not active while one drains")
    return channel  # which closes its connection when it is forgotten


def endless():
    yield b"\x0a\x01x"
    while True:
        time.sleep(3600)


# How to get there, and the watch. The successor is paused right after it has
# logged that event; systemd's SIGTERM comes with a SIGCONT.
PHASES = {
    "pre-copy": (to_paused("inheriting"), LONG),
    "staging": (to_paused("pre-copied"), LONG),
    "ready": (to_paused("ready-sent"), LONG),
    "frozen": (to_paused("final-decoded"), LONG),
    "committed": (to_paused("committed"), LONG),
    "watch": (to_watch, LONG),
    "draining": (to_draining, "1ms"),
}


def stop_and_restart_at_every_phase():
    took = []
    for phase, (bring, watch) in PHASES.items():
        for verb in ("stop", "restart"):
            configure(watch, "--grpc=tcp:127.0.0.1:8081")
            try:
                ONE.start()
                kept = Kept()
                before = kept.whoami()["pid"]
                held = bring()
                kept.close()
                begun = time.monotonic()
                run("systemctl", verb, ONE.name)
                seconds = time.monotonic() - begun
                check(seconds < 20, f"it took {seconds:.1f} s")
                took.append(f"{phase} {verb} {seconds:.2f} s")
                if verb == "restart":
                    ONE.check_active()
                    check(whoami()["generation"] == 1, "it has not started anew")
                    check(ONE.pid != before and len(ONE.pids()) == 1, "old ones are left")
                    run("systemctl", "stop", ONE.name)
                ONE.check_stopped()
                del held
            except Failed as error:
                raise Failed(f"{verb} in {phase}: {error}")
    return ", ".join(took)


def a_stop_drains_who_serves():
    for moment in ("before a handoff", "within the watch", "after it"):
        configure(LONG if moment == "within the watch" else SHORT)
        ONE.start()
        if moment == "within the watch":
            to_watch()
        if moment == "after it":
            ONE.reload()
            await_that("the old one ends", lambda: ONE.pids() == [ONE.pid])
        client = socket.create_connection(("127.0.0.1", PORT))
        client.sendall(b"GET /stream?bytes=100000&rate=100000 HTTP/1.1\r\nHost: x\r\n\r\n")
        check(client.recv(64).startswith(b"HTTP/1.1 200"), "no answer begins")
        stop = subprocess.Popen(["systemctl", "stop", ONE.name])
        size = 0
        while part := client.recv(65536):
            size += len(part)
        client.close()
        check(stop.wait() == 0, "systemctl stop failed")
        check(size > 100000, f"{moment}: an answer was cut off after {size} bytes")
        ONE.check_stopped()


def a_crash_of_the_successor_in_the_watch_is_nothing():
    configure(LONG)
    ONE.start()
    main = ONE.pid
    kept = Kept()
    reload = reload_in_background()
    ONE.await_status("watching it until")
    successor = whoami()["pid"]
    check(successor != main and ONE.pid == main, "MainPID= has changed within the watch")
    kill(successor)
    check(reload.wait() == 0, "the handoff had been committed")
    check(whoami()["pid"] == main, "the predecessor does not serve")
    check(kept.whoami()["pid"] == main, "a connection that nobody touched is lost")
    ONE.await_status(f"took over from pid {successor} again")
    ONE.check_active()
    ONE.await_state("active")
    text = ONE.show("StatusText")
    kept.close()
    run("systemctl", "stop", ONE.name)
    ONE.check_stopped()
    return text


def a_successor_that_fails_before_the_commit_fails_the_reload():
    configure(SHORT)
    ONE.start()
    main = ONE.pid
    load = Load()
    os.rename(SERVER, SERVER + ".good")
    write(SERVER, "#!/bin/sh\necho this release is broken >&2\nexit 7\n")
    os.chmod(SERVER, 0o755)
    try:
        said = run("systemctl", "reload", ONE.name, fails=True)
    finally:
        os.rename(SERVER + ".good", SERVER)
    check("failed" in said, f"systemctl reload said: {said}")
    check(ONE.show("ActiveState") == "active" and ONE.pid == main, "it is not as before")
    check(whoami()["pid"] == main, "somebody else serves")
    with open(LOG) as log:
        reasons = log.read()
    for reason in ("this release is broken", "child-ended"):
        check(reason in reasons, f"the log does not say: {reason}")
    ONE.reload()
    check(ONE.pid != main, "the next reload does not work")
    load.end()
    return said.strip().splitlines()[0]


def a_crash_of_the_only_process_is_a_restart():
    configure(SHORT)
    ONE.start()
    ONE.reload()
    main = ONE.pid
    kill(main)
    await_that("a restart", lambda: ONE.pid not in (0, main))
    ONE.await_state("active")
    ONE.check_active(restarts=1)


def kept_descriptors():
    return int(ONE.show("NFileDescriptorStore"))


def await_stored():
    """Everything until now is in the store: see StoreLimits.

    A new connection is there when the round that has seen it is. The first round
    may have begun too early for what another loop did, the second is complete
    when the third one has begun.
    """
    markers = []
    for _ in range(3):
        markers.append(Kept())
        await_that("a connection in the store", markers[-1].is_stored)
    return markers


def what_the_only_process_had_lives_on():
    configure(SHORT, "--fd_store=1024")
    ONE.start()
    kept = [Kept() for _ in range(20)]

    def crash(requests):
        main = ONE.pid
        begun = time.monotonic()
        kill(main)
        first = kept[0].whoami()
        seconds = time.monotonic() - begun
        for answer in [first] + [each.whoami() for each in kept[1:]]:
            check(
                answer["pid"] not in (0, main) and answer["requests"] == requests,
                f"after the crash of {main}, request {requests}: {answer}",
            )
        ONE.await_state("active")
        return f"{seconds:.2f} s"

    kept += await_stored()
    times = [crash(2)]
    # A successor stores for itself once it is the main process.
    ONE.reload()
    check({each.whoami()["requests"] for each in kept} == {3}, "after the reload")
    markers = await_stored()
    times.append(crash(4))
    ONE.check_active(restarts=2)
    for each in kept + markers:
        each.close()
    await_that("a store with a listener and a log", lambda: kept_descriptors() == 2)
    run("systemctl", "stop", ONE.name)
    check(kept_descriptors() == 0, "something is left in the store")
    return f"the first answer after {' and '.join(times)}"


def a_crash_while_the_old_process_drains_is_a_restart():
    configure("1ms", "--grpc=tcp:127.0.0.1:8081")
    ONE.start()
    old = ONE.pid
    held = to_draining()
    main = ONE.pid
    kill(main)
    begun = time.monotonic()
    await_that("a restart", lambda: ONE.pid not in (0, main, old))
    ONE.await_state("active")
    ONE.check_active(restarts=1)
    held.close()
    return f"{time.monotonic() - begun:.2f} s"


def the_socket_unit_holds_the_port():
    configure(SHORT)
    run("systemctl", "start", "handoff-server.socket")
    check(whoami()["pid"] == ONE.pid, "the socket unit has not started the service")
    ONE.reload()
    check(whoami()["generation"] == 2, "no handoff")
    ONE.check_active()
    # Who comes while nobody serves waits, and has it started.
    run("systemctl", "stop", ONE.name)
    check(whoami()["generation"] == 1, "it has not started anew")
    ONE.check_active()
    run("systemctl", "stop", "handoff-server.socket", ONE.name)


def an_instance_takes_over_from_another():
    configure(SHORT)
    BLUE.start()
    load = Load()
    kept = Kept()
    for old, new in ((BLUE, GREEN), (GREEN, BLUE)):
        before = old.pid
        new.start()
        check(whoami()["pid"] == new.pid, "the one that was started does not serve")
        check(kept.whoami()["pid"] == new.pid, "a kept connection has not moved")
        old.await_state("inactive")
        state = [old.show(k) for k in ("Result", "NRestarts", "ExecMainStatus")]
        check(state == ["success", "0", "0"], f"{old.name} ended as {state}")
        check(old.show("ExecMainPID") == str(before), "it was started again")
        new.check_active()
        load.more()
    requests = load.end()
    main = BLUE.pid
    kill(main)
    await_that("a restart", lambda: BLUE.pid not in (0, main))
    BLUE.await_state("active")
    BLUE.check_active(restarts=1)
    check(GREEN.show("ActiveState") == "inactive", "who had handed over is back")
    return f"{requests} requests, 0 failed"


def a_crash_of_a_new_instance_leaves_the_old_one_serving():
    configure(LONG)
    BLUE.start()
    main = BLUE.pid
    kept = Kept()
    GREEN.start()
    BLUE.await_status("watching it until")
    kill(GREEN.pid)
    BLUE.await_status("again")
    check(kept.whoami()["pid"] == main, "a connection that nobody touched is lost")
    # It is restarted, and takes over again.
    await_that("a restart", lambda: GREEN.show("NRestarts") == "1")
    GREEN.await_state("active")
    check(whoami()["pid"] == GREEN.pid, "it has not taken over again")
    kept.close()
    run("systemctl", "stop", GREEN.name)
    BLUE.await_state("inactive")
    check(BLUE.show("Result") == "success", "the one that watched has not ended well")


def a_loop_that_hangs_is_restarted():
    configure(SHORT, watchdog="1s")
    at = time.time()
    ONE.start()
    ONE.reload()  # the successor has the watchdog now
    main = ONE.pid
    hang_loops_of(main)
    await_that("a restart", lambda: ONE.pid not in (0, main))
    ONE.await_state("active")
    ONE.check_active(restarts=1)
    check("Watchdog timeout" in journal_since(at), "it was another reason")


def a_handoff_does_not_trip_the_watchdog():
    configure("1500ms", watchdog="1s")
    ONE.start()
    # Frozen until the deadline of the handoff, which is longer than the watchdog.
    main = ONE.pid
    pause_successor_at("final-decoded", main)
    reload = reload_in_background()
    successor = await_paused(ONE, main)
    check(reload.wait() != 0, "the reload of a successor that hangs succeeds")
    pause_nobody()
    kill(successor)
    await_that("the successor is gone", lambda: ONE.pids() == [main])
    ONE.check_active()
    check(ONE.pid == main, "MainPID= has changed")
    # A whole watch.
    load = Load(kept=4, fresh=1)
    ONE.reload()
    check(ONE.pid != main, "MainPID= is still the old one")
    # Keepalives come from the new one.
    seen = set()
    await_that(
        "three keepalives",
        lambda: seen.add(ONE.show("WatchdogTimestampMonotonic")) or len(seen) > 3,
    )
    load.end()
    ONE.check_active()


CASES = [
    the_units_are_valid,
    reloads_under_load_lose_nothing,
    stop_and_restart_at_every_phase,
    a_stop_drains_who_serves,
    a_crash_of_the_successor_in_the_watch_is_nothing,
    a_successor_that_fails_before_the_commit_fails_the_reload,
    a_crash_of_the_only_process_is_a_restart,
    what_the_only_process_had_lives_on,
    a_crash_while_the_old_process_drains_is_a_restart,
    the_socket_unit_holds_the_port,
    an_instance_takes_over_from_another,
    a_crash_of_a_new_instance_leaves_the_old_one_serving,
    a_loop_that_hangs_is_restarted,
    a_handoff_does_not_trip_the_watchdog,
]


def journal_since(at):
    return run("journalctl", "--no-pager", "--quiet", f"--since=@{at:.6f}")


def clean():
    pause_nobody()
    for unit in ("handoff-server.socket", ONE.name, BLUE.name, GREEN.name):
        subprocess.run(["systemctl", "kill", "-sKILL", unit], stderr=subprocess.DEVNULL)
        subprocess.run(["systemctl", "stop", unit], stderr=subprocess.DEVNULL)
        subprocess.run(["systemctl", "reset-failed", unit], stderr=subprocess.DEVNULL)
    if os.path.exists(LOG):
        os.truncate(LOG, 0)


def main():
    install()
    failed = 0
    chosen = sys.argv[1:]
    for case in CASES:
        if chosen and case.__name__ not in chosen:
            continue
        clean()
        begun, at = time.monotonic(), time.time()
        try:
            figures = case()
        except Exception as error:
            failed += 1
            print(f"FAILED {case.__name__}: {error}")
            if not isinstance(error, Failed):
                traceback.print_exc(file=sys.stdout)
            print(open(LOG).read()[-6000:] if os.path.exists(LOG) else "no log")
            print(journal_since(at))
        else:
            seconds = time.monotonic() - begun
            print(f"OK {case.__name__} ({seconds:.1f} s)" + (f": {figures}" if figures else ""))
        sys.stdout.flush()
    clean()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
