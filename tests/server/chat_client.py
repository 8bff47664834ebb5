"""Members of handoff_server's chat, who talk until SIGTERM.

Usage: chat_client.py ADDRESS MEMBERS ROOMS OUTPUT

ADDRESS is a port of this host, or the path of a Unix socket.

Writes lines to OUTPUT: "all there" when every member has joined its room;
"pid N" when every room has had a message that process N has numbered; for each
failure "failed ..."; and at the end "ended" with counts.

Every member checks that it is sent each number of its room once, in order, from
the first of what it was given on joining. All members of a room have to be told
the same. Now and then one leaves and joins again.
"""

import asyncio
import itertools
import json
import random
import resource
import signal
import sys
import time

import websockets

# Said, but not yet heard by who has said it.
MESSAGES_UNDERWAY = 40
# In all, whoever forgets to stop us.
MOST_MESSAGES = 20000
MESSAGES_PER_REJOIN = 40
CONNECTS_AT_A_TIME = 50
HISTORY = 100
PATIENCE = 60


class Room:
    def __init__(self, name):
        self.name = name
        self.heard = {}  # the text, by its number
        self.pids = set()


class Member:
    def __init__(self, load, number, room):
        self.load = load
        self.name = "member%d" % number
        self.room = room
        self.socket = None
        self.joined = asyncio.Event()
        self.next = None  # the number that must come next
        self.said = 0
        self.underway = None  # what it has said and not heard

    async def connect(self, address, number):
        if address.startswith("/"):
            where = {"unix": True, "path": address, "uri": "ws://localhost/ws"}
        else:
            where = {"uri": "ws://127.0.0.1:%s/ws" % address}
        self.socket = await websockets.connect(
            **where,
            # Some ask for what the server does not have.
            compression="deflate" if number % 50 == 0 else None,
            ping_interval=None,
            max_queue=None,
            open_timeout=PATIENCE,
        )
        if self.socket.extensions:
            self.load.fail("the server agreed to %s" % self.socket.extensions)
        self.reader = asyncio.create_task(self.read())
        await self.join()

    async def join(self):
        self.joined.clear()
        await self.socket.send(
            json.dumps({"join": self.room.name, "name": self.name})
        )
        await asyncio.wait_for(self.joined.wait(), PATIENCE)

    async def rejoin(self):
        await self.socket.send(json.dumps({"leave": self.room.name}))
        await self.join()

    async def say(self):
        self.said += 1
        self.underway = "%s says %d" % (self.name, self.said)
        await self.socket.send(json.dumps({"say": self.underway}))

    async def read(self):
        try:
            async for text in self.socket:
                self.hear(json.loads(text))
        except websockets.ConnectionClosed as closed:
            self.load.fail("%s was disconnected: %s" % (self.name, closed))
        else:
            if not self.load.ending:
                self.load.fail("%s was closed" % self.name)

    def hear(self, message):
        if "seq" not in message or self.next is None and "joined" not in message:
            if "left" in message:
                self.next = None
            else:
                self.load.fail("%s was told %s" % (self.name, message))
            return
        if "joined" in message:
            self.next = max(1, message["seq"] - HISTORY + 1)
            self.joined.set()
            return
        if message["seq"] != self.next:
            self.load.fail(
                "%s was told %d in place of %d: %s"
                % (self.name, message["seq"], self.next, message)
            )
        self.next = message["seq"] + 1
        text = message["text"]
        if self.room.heard.setdefault(message["seq"], text) != text:
            self.load.fail("%d of %s is two: %s" % (self.next - 1, self.room.name, text))
        if text == self.underway:
            self.underway = None
            self.load.window.release()
        self.load.heard += 1
        self.load.saw(self.room, message["pid"])


class Load:
    def __init__(self, address, members, rooms, output):
        self.address = address
        self.output = output
        self.rooms = [Room("room%d" % i) for i in range(rooms)]
        self.members = [Member(self, i, self.rooms[i % rooms]) for i in range(members)]
        self.stop = asyncio.Event()
        self.window = asyncio.Semaphore(MESSAGES_UNDERWAY)
        self.ending = False
        self.failures = 0
        self.heard = 0
        self.said = 0
        self.told = set()

    def tell(self, line):
        print(line, file=self.output, flush=True)

    def fail(self, what):
        self.failures += 1
        if self.failures <= 20:
            self.tell("failed: " + " ".join(str(what).split()))
        self.stop.set()

    def saw(self, room, pid):
        if pid in room.pids:
            return
        room.pids.add(pid)
        if pid not in self.told and all(pid in r.pids for r in self.rooms):
            self.told.add(pid)
            self.tell("pid %d" % pid)

    async def talk(self):
        chance = random.Random(1)
        while self.said < MOST_MESSAGES:
            # Everybody once, and again in another order; of each room one, then of
            # each another.
            rows = [
                self.members[at : at + len(self.rooms)]
                for at in range(0, len(self.members), len(self.rooms))
            ]
            chance.shuffle(rows)
            for member in itertools.chain(*rows):
                if self.stop.is_set() and min(m.said for m in self.members) > 0:
                    return
                if self.failures > 0:
                    return
                await asyncio.wait_for(self.window.acquire(), PATIENCE)
                if member.underway is not None:
                    self.window.release()
                    continue
                await member.say()
                self.said += 1
                if self.said % MESSAGES_PER_REJOIN == 0:
                    other = chance.choice(self.members)
                    if other.underway is None:
                        await other.rejoin()
        self.fail("nobody has said stop after %d messages" % self.said)

    def complete(self):
        return all(
            m.underway is None and m.next == len(m.room.heard) + 1 for m in self.members
        )

    async def run(self):
        started = time.monotonic()
        for at in range(0, len(self.members), CONNECTS_AT_A_TIME):
            batch = self.members[at : at + CONNECTS_AT_A_TIME]
            await asyncio.gather(
                *(m.connect(self.address, at + i) for i, m in enumerate(batch))
            )
        there = time.monotonic()
        self.tell("all there")
        await self.talk()
        deadline = time.monotonic() + PATIENCE
        while not self.complete() and self.failures == 0:
            if time.monotonic() > deadline:
                late = [m for m in self.members if m.next != len(m.room.heard) + 1]
                self.fail(
                    "%d members still wait, %s for %d of %d"
                    % (len(late), late[0].name, late[0].next, len(late[0].room.heard))
                    if late
                    else "what somebody has said is lost"
                )
                break
            await asyncio.sleep(0.01)
        if self.said != sum(len(room.heard) for room in self.rooms):
            self.fail("of %d messages not all were heard" % self.said)
        talked = time.monotonic()
        self.ending = True
        await asyncio.gather(*(m.socket.close() for m in self.members))
        self.tell(
            "ended said=%d heard=%d processes=%d connecting=%.1fs talking=%.1fs"
            % (
                self.said,
                self.heard,
                len(self.told),
                there - started,
                talked - there,
            )
        )


async def main():
    members, rooms = int(sys.argv[2]), int(sys.argv[3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    with open(sys.argv[4], "w") as output:
        load = Load(sys.argv[1], members, rooms, output)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.stop.set)
        try:
            await load.run()
        except Exception as error:  # whatever it is, the test has to know
            load.fail(repr(error))


asyncio.run(main())
