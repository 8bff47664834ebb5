"""Starts handoff_server, and processes that take over from it."""

import subprocess

from processes import await_end, await_line


class HandoffServer:
    """A service: the process that serves, and those that still watch it.

    As a context, it kills what stop() has not ended.
    """

    def __init__(self, binary, folder, flags):
        """`folder` is for its log and its socket; of a short path."""
        self.address = ""
        self.port = 0
        self._log = f"{folder}/server.log"
        self._argv = [
            binary,
            "--http=tcp:127.0.0.1:0",
            f"--handoff={folder}/handoff.sock",
            *flags,
        ]
        self._processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self._processes:
            process.kill()
            process.wait()
            process.stdout.close()

    def start(self):
        """Returns when a new process serves: the first, or one that took over."""
        self.launch()
        self.await_ready()

    def launch(self):
        with open(self._log, "a", encoding="utf-8") as log:
            self._processes.append(
                subprocess.Popen(
                    self._argv, stdout=subprocess.PIPE, stderr=log, text=True
                )
            )

    def await_ready(self):
        """Of what was launched."""
        line = await_line(self._processes[-1].stdout)
        if not line.startswith("ready "):
            raise RuntimeError(f"a server did not start: {line or self._logged()}")
        self.address = line.split("http=")[1].split()[0]
        self.port = int(self.address.split(":")[1])

    def await_predecessors(self):
        """Returns when all that have handed over are gone."""
        while len(self._processes) > 1:
            self._await_first()

    def stop(self):
        # The others leave when their successor has told them to, or their watch
        # is over.
        self._processes[-1].terminate()
        while self._processes:
            self._await_first()

    def _logged(self):
        """The last line that any of them has logged."""
        with open(self._log, encoding="utf-8", errors="replace") as log:
            return log.read().rstrip().rpartition("\n")[2]

    def _await_first(self):
        process = self._processes[0]
        if await_end(process) != 0:
            raise RuntimeError(
                f"a server exited with {process.returncode}: {self._logged()}"
            )
        process.stdout.close()
        self._processes.pop(0)
