"""The servers that compare.py restarts under load, each in the way of its own.

A contender has `name`, `title` and `address`, and start(), restart() and stop().
restart() returns once the new process serves, and the old one is gone where it
has to be before the next restart. Every wait is for an event and has a deadline:
TimeoutError says what did not happen.

All of them serve the same: /healthz, which answers "ok"; `download_path`, a body
at a steady rate; and /echo, which answers with the body that it was sent.
"""

import os
import signal
import string
import subprocess

from handoff_server import HandoffServer
from processes import DEADLINE, answers, await_event, children, free_port, gone

NGINX = "/usr/sbin/nginx"
HAPROXY = "/usr/sbin/haproxy"
WORKERS = 2
# What an old process may take for what it has in flight: several times as long
# as the longest download or upload, and less than DEADLINE.
DRAIN = 30

_NGINX = string.Template("""\
$user
worker_processes $workers;
worker_shutdown_timeout ${drain}s;
pid $folder/nginx.pid;
error_log $folder/error.log warn;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_max_body_size 64m;
  client_body_temp_path $folder/body;
  proxy_temp_path $folder/proxy;
  fastcgi_temp_path $folder/fastcgi;
  uwsgi_temp_path $folder/uwsgi;
  scgi_temp_path $folder/scgi;
  upstream backend { server 127.0.0.1:$backend; keepalive 32; }
  server {
    listen 127.0.0.1:$port$reuseport;
    location = /healthz { return 200 "ok"; }
    location = /download { alias $file; limit_rate $rate; }
    location = /echo {
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
  }
}
""")

_HAPROXY = string.Template("""\
global
  nbthread $workers
  maxconn 4096
  hard-stop-after ${drain}s
  stats socket $folder/haproxy.sock mode 600 level admin expose-fd listeners
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-request 60s
  timeout http-keep-alive 1h
  $option
frontend front
  bind 127.0.0.1:$port
  default_backend back
backend back
  server never_restarted 127.0.0.1:$backend
""")


class Handoff(HandoffServer):
    """handoff_server: a successor that is started separately takes over."""

    name = "handoff"
    title = "handoff_server, handoff"

    def __init__(self, folder, load, server, **_):
        flags = [
            f"--workers={WORKERS}",
            "--idle_timeout=1h",
            f"--drain_deadline={DRAIN}s",
        ]
        super().__init__(server, folder, flags)
        self.folder = folder
        self.config = " ".join(
            ["--http=tcp:127.0.0.1:0", "--handoff=PATH", *flags]
        )
        self.download_path = (
            f"/stream?bytes={load.download_bytes}&rate={load.download_rate}"
        )

    def restart(self):
        self.start()


class _Nginx:
    """nginx, as it is started by itself: in the background."""

    reuseport = ""

    def __init__(self, folder, load, backend_port, **_):
        self.folder = folder
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.download_path = "/download"
        self._values = {
            "user": "user root;" if os.geteuid() == 0 else "",
            "workers": WORKERS,
            "drain": DRAIN,
            "backend": backend_port,
            "port": self.port,
            "reuseport": self.reuseport,
            "file": load.download_file,
            "rate": load.download_rate,
        }
        self.config = _NGINX.substitute(self._values, folder="FOLDER")
        self.master = None

    def start(self):
        self.master = self._launch(self.folder)
        await_event("nginx to answer", lambda: answers(self.port))

    def stop(self):
        os.kill(self.master, signal.SIGTERM)
        self._await_gone(self.master)

    def _launch(self, folder):
        """Starts an instance and returns its master once its workers run."""
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/nginx.conf", "w", encoding="utf-8") as file:
            file.write(_NGINX.substitute(self._values, folder=folder))
        subprocess.run(
            [NGINX, "-e", f"{folder}/error.log", "-p", folder]
            + ["-c", f"{folder}/nginx.conf"],
            check=True,
            timeout=DEADLINE,
        )
        return self._await_master(folder, None)

    def _await_master(self, folder, old):
        def new_master():
            try:
                with open(f"{folder}/nginx.pid", encoding="ascii") as file:
                    pid = int(file.read())
            except (OSError, ValueError):
                return None
            runs = pid != old and len(children(pid)) == WORKERS
            return pid if runs else None

        return await_event("nginx's master and workers", new_master)

    def _await_gone(self, pid):
        await_event(f"nginx {pid} to end", lambda: gone(pid))


class NginxUpgrade(_Nginx):
    """USR2 to the master; QUIT to it once the new one and its workers run."""

    name = "nginx_usr2"
    title = "nginx, binary upgrade (USR2, QUIT)"

    def restart(self):
        old = self.master
        os.kill(old, signal.SIGUSR2)
        self.master = self._await_master(self.folder, old)
        os.kill(old, signal.SIGQUIT)
        self._await_gone(old)


class NginxReload(_Nginx):
    """HUP: new workers under the same master. The binary stays the old one."""

    name = "nginx_hup"
    title = "nginx, reload (HUP)"

    def restart(self):
        old = children(self.master)
        os.kill(self.master, signal.SIGHUP)

        def changed():
            now = children(self.master)
            return len(now) == WORKERS and not now & old

        await_event("nginx's workers to change", changed)


class NginxReuseport(_Nginx):
    """A second instance at the same port; then QUIT to the first."""

    name = "reuseport"
    title = "nginx, two instances, SO_REUSEPORT"
    reuseport = " reuseport"
    _instances = 0

    def restart(self):
        old = self.master
        self._instances += 1
        self.master = self._launch(f"{self.folder}/{self._instances}")
        os.kill(old, signal.SIGQUIT)
        self._await_gone(old)


class NginxStopStart(_Nginx):
    """QUIT; a new one when the old one is gone, as a service manager does it."""

    name = "stop_start"
    title = "nginx, stop and start"

    def restart(self):
        os.kill(self.master, signal.SIGQUIT)
        self._await_gone(self.master)
        self.master = self._launch(self.folder)


class _Haproxy:
    """HAProxy in master-worker mode, before a server that is not restarted."""

    option = ""

    def __init__(self, folder, load, backend_port, **_):
        self.folder = folder
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.download_path = (
            f"/stream?bytes={load.download_bytes}&rate={load.download_rate}"
        )
        self._values = {
            "workers": WORKERS,
            "drain": DRAIN,
            "backend": backend_port,
            "port": self.port,
            "option": self.option,
        }
        self.config = _HAPROXY.substitute(self._values, folder="FOLDER")
        self._master = None

    def start(self):
        with open(f"{self.folder}/haproxy.cfg", "w", encoding="utf-8") as file:
            file.write(_HAPROXY.substitute(self._values, folder=self.folder))
        with open(f"{self.folder}/haproxy.log", "w", encoding="utf-8") as log:
            self._master = subprocess.Popen(
                [HAPROXY, "-W", "-f", f"{self.folder}/haproxy.cfg"],
                stdout=log,
                stderr=log,
            )
        await_event("HAProxy to answer", lambda: answers(self.port))

    def restart(self):
        old = children(self._master.pid)
        self._master.send_signal(signal.SIGUSR2)

        def changed():
            now = children(self._master.pid)
            return now and not now & old

        await_event("HAProxy's worker to change", changed)

    def stop(self):
        self._master.terminate()
        self._master.wait(DEADLINE)


class HaproxyIdleClose(_Haproxy):
    name = "haproxy_idle_close"
    title = "HAProxy, reload (USR2), idle-close-on-response"
    option = "option idle-close-on-response"


class HaproxyReload(_Haproxy):
    name = "haproxy"
    title = "HAProxy, reload (USR2)"


CONTENDERS = [
    NginxUpgrade,
    NginxReload,
    HaproxyIdleClose,
    HaproxyReload,
    NginxReuseport,
    NginxStopStart,
    Handoff,
]
