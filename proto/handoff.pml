// The handoff protocol of PROTOCOL.md, for Spin: who may touch the sessions.
// model_test.sh runs it; "The model" in PROTOCOL.md says what it leaves out.
//
// Process 0 serves. The others are successors: each connects to whoever is in
// charge at the time, takes over, and is then a predecessor itself. A handoff
// has the number of its successor. One pass through the loop of a process is
// what the code does without giving way: a machine takes one input, or the
// driver carries out one command. A process can die between any two of them,
// and every wait can be too long (a hang is a step that does not come yet).
//
//   -DN=3         processes (2)
//   -DBATCHES     batches and their acknowledgements, too
//   -DREHEARSAL   the third only rehearses
//   -DCALM        nothing disturbs: no deadline, no abort, no stop, no bad frame
//   -DCRASHES=1   how many processes die (any number; with CALM none)

#ifndef N
#define N 2
#endif

#ifdef CALM
#ifndef CRASHES
#define CRASHES 0
#endif
#define LATE false
#define DISTURBED false
#define MAY_DIE (crashes < CRASHES)
#else
#define LATE true
#define DISTURBED storm
#define MAY_DIE storm
#endif

#ifdef REHEARSAL
#define REHEARSES(h) (h == 2)
#else
#define REHEARSES(h) false
#endif

#define NOBODY N

mtype = { hello, offer, refuse, batch, ack, pre_copied, ready, final,
          committed, released, retire, abort };
// The word of a handoff.
mtype = { OPEN, COMMITTED, ABORTED };
// A process that ends closes its sockets first; then its pidfd says so.
mtype = { RUNS, CLOSED, DEAD };
// What a process does as a successor, and what it does as a predecessor.
mtype = { T_START, T_OFFER, T_STAGING, T_STAGED, T_READY, T_DECODING,
          T_SWAPPED, T_ADOPTING, T_COMMITTED, T_RELEASED, T_NONE, T_FAILED };
mtype = { G_NONE, G_HELLO, G_FIRST, G_PRE_COPIED, G_READY, G_SECOND,
          G_CAUGHT_UP, G_QUIESCED, G_CUT, G_FINAL, G_FROZEN, G_ABORTING,
          G_LATE_SWAP, G_RELEASING, G_WATCHING, G_DONE };

mtype life[N] = RUNS;
mtype taking[N] = T_START;
mtype giving[N] = G_NONE;
byte to[N] = NOBODY;   // the handoff that a process gives
bool owns[N];          // it may accept, read and write
bool thaws[N];         // the driver has this command to carry out
bool stopping[N];
bool retired[N];       // Retire came before the release
bool broken[N];        // a frame could not be used: no more are read
byte unacknowledged[N];

// Of each handoff.
byte from[N] = NOBODY;
mtype word[N] = OPEN;
bool unwatched[N];  // the word is RETIRED
bool offered[N];
bool left_by_predecessor[N];  // closed, by a process that lives
bool left_by_successor[N];
chan to_predecessor[N] = [2] of { mtype };
chan to_successor[N] = [2] of { mtype };

// Whose the sessions are, by the words; and what the world does.
byte owner = 0;
bool storm = true;
byte crashes;

#define RUNS_(i) (life[i] == RUNS)
// The giver `me` and its handoff; the taker is handoff `me`.
#define G to[me]
#define IN_G to_predecessor[G]
#define OUT_G to_successor[G]
#define IN_T to_successor[me]
#define OUT_T to_predecessor[me]
#define SUCCESSOR_CLOSED (!RUNS_(G) || left_by_successor[G])
#define PREDECESSOR_CLOSED \
  (from[me] != NOBODY && (life[from[me]] != RUNS || left_by_predecessor[me]))
// A peer counts as dead only once its queue has been read to the end.
#ifdef MUTANT_EVERY_END_A_CRASH
// Neither the word nor what the dead have sent is looked at.
#define SUCCESSOR_DEAD (life[G] == DEAD)
#else
#define SUCCESSOR_DEAD (life[G] == DEAD && empty(IN_G) && !broken[me])
#endif
#define PREDECESSOR_DEAD \
  (from[me] != NOBODY && life[from[me]] == DEAD && empty(IN_T))

#define UNDECIDED \
  (giving[me] != G_NONE && giving[me] != G_ABORTING && \
   giving[me] != G_LATE_SWAP && giving[me] != G_RELEASING && \
   giving[me] != G_WATCHING && giving[me] != G_DONE)
#define QUIESCED \
  (giving[me] == G_QUIESCED || giving[me] == G_CUT || giving[me] == G_FINAL || \
   giving[me] == G_FROZEN)
#define SERVES (taking[me] == T_COMMITTED || taking[me] == T_RELEASED || \
                taking[me] == T_NONE)
#define WATCHED (taking[me] == T_COMMITTED || taking[me] == T_RELEASED)
#define STAGES (taking[me] == T_STAGING || taking[me] == T_STAGED || \
                taking[me] == T_READY)

inline Own() {
  assert(!owns[0] && !owns[1]);  // one owner
#if N > 2
  assert(!owns[2]);
#endif
  owns[me] = true
}

inline Die(i) {
  owns[i] = false;
  thaws[i] = false;
  life[i] = CLOSED
}

// Frames decide nothing: where the queue is full, the news is lost.
inline Tell(queue, news, closed) {
  if
  :: closed -> skip
  :: !(closed) && nfull(queue) -> queue!news
  :: LATE && !(closed) && full(queue) -> skip
  fi
}

// PredecessorMachine::Decide: ABORTED, or what is in force.
inline GiverAborts() {
#ifdef MUTANT_SWAP_AFTER_THAW
  // The groups go on first, and the word is swapped when there is time.
  thaws[me] = QUIESCED;
  giving[me] = G_LATE_SWAP
#else
  if
  :: word[G] == COMMITTED -> giving[me] = G_RELEASING
  :: else ->
     word[G] = ABORTED;
     thaws[me] = QUIESCED;
     giving[me] = G_ABORTING;
     Tell(OUT_G, abort, SUCCESSOR_CLOSED)
  fi
#endif
}

inline GiverEnds() {
  left_by_predecessor[G] = true;
  to[me] = NOBODY;
  giving[me] = G_NONE;
  retired[me] = false;
  broken[me] = false;
  unacknowledged[me] = 0
}

inline GiverHears() {
  if
  :: IN_G?ack ->
     if
     :: unacknowledged[me] > 0 -> unacknowledged[me]--
     :: else -> skip
     fi
  :: IN_G?ready ->
     if
     :: giving[me] == G_READY -> giving[me] = G_SECOND
     :: else -> assert(!UNDECIDED)
     fi
  :: IN_G?committed ->
     if
     :: UNDECIDED && word[G] == COMMITTED -> giving[me] = G_RELEASING
     :: UNDECIDED && word[G] != COMMITTED -> GiverAborts()
     :: else -> skip
     fi
  :: IN_G?retire ->
     if
     :: giving[me] == G_WATCHING -> giving[me] = G_DONE
     :: UNDECIDED && word[G] == COMMITTED ->
        giving[me] = G_RELEASING; retired[me] = true
     :: giving[me] == G_RELEASING -> retired[me] = true
     :: UNDECIDED && word[G] != COMMITTED -> GiverAborts()
     :: else -> skip
     fi
  :: IN_G?abort ->
     if
     :: UNDECIDED -> GiverAborts()
     :: else -> skip
     fi
  fi
}

// SuccessorMachine::Fail, and what a broken promise of the service comes to.
inline TakerFails() {
  if
  :: offered[me] && taking[me] != T_OFFER && word[me] == OPEN ->
     word[me] = ABORTED
  :: else -> skip
  fi;
  Tell(OUT_T, abort, PREDECESSOR_CLOSED);
  taking[me] = T_FAILED
}

inline Accepts(h) {
  to_predecessor[h]?hello;
  from[h] = me;
  to[me] = h;
  giving[me] = G_HELLO
}

// Process::Answer: the predecessor's watch ends before anybody is offered
// anything, and before a deliberate stop.
inline Retires() {
#ifndef MUTANT_EVERY_END_A_CRASH
  unwatched[me] = true;
#endif
  Tell(OUT_T, retire, PREDECESSOR_CLOSED);
  left_by_successor[me] = true;
  taking[me] = T_NONE
}

proctype Process(byte me) {
  if
  :: me == 0 -> taking[0] = T_NONE; owns[0] = true
  :: else -> skip
  fi;
end:
  do
  // What the world does.
  :: atomic { RUNS_(me) && MAY_DIE -> crashes++; Die(me) }
  :: atomic { life[me] == CLOSED -> life[me] = DEAD }
  :: atomic { RUNS_(me) && SERVES && !stopping[me] && DISTURBED &&
              giving[me] != G_DONE ->
              stopping[me] = true }

  // The taker.
  // Successors are alike: that the second is never before the first loses
  // nothing.
  :: atomic { RUNS_(me) && taking[me] == T_START &&
              (me < 2 || from[1] != NOBODY || !RUNS_(1)) ->
              OUT_T!hello; taking[me] = T_OFFER }
  :: atomic { RUNS_(me) && taking[me] == T_OFFER && nempty(IN_T) ->
              if
              :: IN_T?offer -> taking[me] = T_STAGING
              :: IN_T?refuse -> taking[me] = T_FAILED
              :: IN_T?abort -> taking[me] = T_FAILED
              fi }
  :: atomic { RUNS_(me) && taking[me] == T_OFFER && PREDECESSOR_CLOSED &&
              empty(IN_T) -> taking[me] = T_FAILED }
  :: atomic { RUNS_(me) && STAGES && nempty(IN_T) &&
              (PREDECESSOR_CLOSED || nfull(OUT_T)) ->
              if
              :: IN_T?batch -> Tell(OUT_T, ack, PREDECESSOR_CLOSED)
              :: IN_T?pre_copied ->
                 assert(taking[me] == T_STAGING);
                 taking[me] = T_STAGED
              :: IN_T?final ->
                 assert(taking[me] == T_READY);
                 taking[me] = T_DECODING
              :: IN_T?abort ->
                 assert(word[me] == ABORTED);
                 taking[me] = T_FAILED
              fi }
  :: atomic { RUNS_(me) && taking[me] == T_STAGED && REHEARSES(me) ->
              TakerFails();
              printf("reached: a rehearsal\n") }
  :: atomic { RUNS_(me) && taking[me] == T_STAGED && !REHEARSES(me) &&
              (PREDECESSOR_CLOSED || nfull(OUT_T)) ->
              Tell(OUT_T, ready, PREDECESSOR_CLOSED);
              taking[me] = T_READY }
  :: atomic { RUNS_(me) && STAGES && PREDECESSOR_CLOSED && empty(IN_T) &&
              word[me] == ABORTED -> taking[me] = T_FAILED }
  :: atomic { RUNS_(me) && STAGES && PREDECESSOR_DEAD && REHEARSES(me) ->
              TakerFails() }
  :: atomic { RUNS_(me) && STAGES && PREDECESSOR_DEAD && !REHEARSES(me) ->
#ifdef MUTANT_ADOPT_ABORTED
              // The dead need nothing any more, whatever the word says.
              owner = me; taking[me] = T_ADOPTING
#else
              if
              :: word[me] == OPEN ->
                 word[me] = COMMITTED;
                 owner = me;
                 taking[me] = T_ADOPTING
              :: else ->
                 taking[me] = T_FAILED;
                 printf("reached: no adoption after an abort\n")
              fi
#endif
            }
  :: atomic { RUNS_(me) && taking[me] == T_DECODING ->
#ifdef MUTANT_SKIP_SWAP
              // Final is permission enough.
              owner = me; taking[me] = T_SWAPPED
#else
              if
              :: word[me] == OPEN ->
                 word[me] = COMMITTED;
                 owner = me;
                 taking[me] = T_SWAPPED
              :: else ->
                 taking[me] = T_FAILED;
                 printf("reached: an abort before the commit\n")
              fi
#endif
            }
  :: atomic { RUNS_(me) && taking[me] == T_SWAPPED ->
              Tell(OUT_T, committed, PREDECESSOR_CLOSED);
              assert(word[me] != ABORTED);
              Own();
              taking[me] = T_COMMITTED;
              printf("reached: commit\n") }
  :: atomic { RUNS_(me) && taking[me] == T_ADOPTING ->
              assert(word[me] != ABORTED);  // never adopted
              Own();
              taking[me] = T_NONE;
              printf("reached: adoption\n") }
  :: atomic { RUNS_(me) && WATCHED && nempty(IN_T) ->
              if
              :: IN_T?released -> taking[me] = T_RELEASED
              :: IN_T?abort -> assert(false)
              fi }
  :: atomic { RUNS_(me) && WATCHED && PREDECESSOR_CLOSED && empty(IN_T) ->
              unwatched[me] = true; taking[me] = T_NONE }
  :: atomic { RUNS_(me) && LATE && taking[me] == T_COMMITTED ->
              taking[me] = T_RELEASED }
  :: atomic { RUNS_(me) && LATE &&
              (taking[me] == T_OFFER || STAGES) -> TakerFails() }
  // The backlog of a socket that nobody listens at any more.
  :: atomic { RUNS_(me) && taking[me] == T_OFFER && from[me] == NOBODY &&
              !RUNS_(owner) -> taking[me] = T_FAILED }
  :: atomic { RUNS_(me) && DISTURBED && taking[me] == T_DECODING ->
              TakerFails() }
  :: atomic { RUNS_(me) && taking[me] == T_FAILED -> Die(me) }

  // The giver.
  :: atomic { RUNS_(me) && SERVES && giving[me] == G_NONE && !thaws[me] &&
              !stopping[me] && me != 1 && to_predecessor[1]?[hello] ->
              Accepts(1) }
#if N > 2
  :: atomic { RUNS_(me) && SERVES && giving[me] == G_NONE && !thaws[me] &&
              !stopping[me] && me != 2 && to_predecessor[2]?[hello] ->
              Accepts(2) }
  // Busy: one handoff at a time.
  :: atomic { RUNS_(me) && UNDECIDED && G != 1 && me != 1 &&
              to_predecessor[1]?[hello] ->
              to_predecessor[1]?hello; from[1] = me; to_successor[1]!refuse }
  :: atomic { RUNS_(me) && UNDECIDED && G != 2 && me != 2 &&
              to_predecessor[2]?[hello] ->
              to_predecessor[2]?hello; from[2] = me; to_successor[2]!refuse }
#endif
#ifndef MUTANT_NO_RETIRE
  :: atomic { RUNS_(me) && giving[me] == G_HELLO && WATCHED &&
              !REHEARSES(G) ->
              Retires();
              printf("reached: retires before an offer\n") }
#endif
#ifdef MUTANT_NO_RETIRE
  // The watch of the one before ends by itself, sooner or later.
  :: atomic { RUNS_(me) && giving[me] == G_HELLO ->
#else
  :: atomic { RUNS_(me) && giving[me] == G_HELLO &&
              (!WATCHED || REHEARSES(G)) ->
#endif
              Tell(OUT_G, offer, SUCCESSOR_CLOSED);
              offered[G] = true;
              giving[me] = G_FIRST }
  :: atomic { RUNS_(me) && giving[me] == G_FIRST &&
              (SUCCESSOR_CLOSED || nfull(OUT_G)) ->
#ifdef BATCHES
              Tell(OUT_G, batch, SUCCESSOR_CLOSED);
              unacknowledged[me]++;
#endif
              giving[me] = G_PRE_COPIED }
  :: atomic { RUNS_(me) && giving[me] == G_PRE_COPIED &&
              (SUCCESSOR_CLOSED || nfull(OUT_G)) ->
              Tell(OUT_G, pre_copied, SUCCESSOR_CLOSED);
              giving[me] = G_READY }
  :: atomic { RUNS_(me) && giving[me] == G_SECOND &&
              (SUCCESSOR_CLOSED || nfull(OUT_G)) ->
#ifdef BATCHES
              if
              :: Tell(OUT_G, batch, SUCCESSOR_CLOSED); unacknowledged[me]++
              :: skip
              fi;
#endif
              giving[me] = G_CAUGHT_UP }
  :: atomic { RUNS_(me) && giving[me] == G_CAUGHT_UP &&
              unacknowledged[me] == 0 -> giving[me] = G_QUIESCED }
  // Posted work may write until the cut.
  :: atomic { RUNS_(me) && giving[me] == G_QUIESCED ->
              owns[me] = false; giving[me] = G_CUT }
  :: atomic { RUNS_(me) && giving[me] == G_CUT &&
              (SUCCESSOR_CLOSED || nfull(OUT_G)) ->
#ifdef BATCHES
              if
              :: Tell(OUT_G, batch, SUCCESSOR_CLOSED); unacknowledged[me]++
              :: skip
              fi;
#endif
              giving[me] = G_FINAL }
  :: atomic { RUNS_(me) && giving[me] == G_FINAL &&
              (SUCCESSOR_CLOSED || nfull(OUT_G)) ->
              Tell(OUT_G, final, SUCCESSOR_CLOSED);
              giving[me] = G_FROZEN }
  :: atomic { RUNS_(me) && G != NOBODY && giving[me] != G_DONE &&
              !broken[me] && nempty(IN_G) -> GiverHears() }
  :: atomic { RUNS_(me) && G != NOBODY && UNDECIDED && SUCCESSOR_CLOSED &&
              (empty(IN_G) || broken[me]) -> GiverAborts() }
  // A deadline; the same for an abort by this side.
  :: atomic { RUNS_(me) && LATE && UNDECIDED -> GiverAborts() }
  :: atomic { RUNS_(me) && DISTURBED && G != NOBODY && !broken[me] &&
              giving[me] != G_DONE && nempty(IN_G) ->
              broken[me] = true;
              if
              :: UNDECIDED -> GiverAborts()
              :: else -> skip
              fi }
#ifdef MUTANT_SWAP_AFTER_THAW
  :: atomic { RUNS_(me) && giving[me] == G_LATE_SWAP && !thaws[me] ->
              if
              :: word[G] == OPEN -> word[G] = ABORTED; giving[me] = G_ABORTING
              :: word[G] == ABORTED -> giving[me] = G_ABORTING
              :: else -> giving[me] = G_RELEASING
              fi }
#endif
  :: atomic { RUNS_(me) && thaws[me] ->
              thaws[me] = false; owns[me] = false; Own() }
  :: atomic { RUNS_(me) && giving[me] == G_ABORTING && SUCCESSOR_CLOSED ->
              GiverEnds();
              printf("reached: abort\n") }
  // Too long: only an aborted successor is ever killed.
  :: atomic { RUNS_(me) && LATE && giving[me] == G_ABORTING &&
              RUNS_(G) ->
              assert(word[G] == ABORTED && !owns[G]);
              Die(G);
              GiverEnds() }
  :: atomic { RUNS_(me) && giving[me] == G_RELEASING ->
              assert(!owns[me]);
              if
              :: retired[me] -> giving[me] = G_DONE
              :: else -> giving[me] = G_WATCHING
              fi;
              Tell(OUT_G, released, SUCCESSOR_CLOSED) }
  :: atomic { RUNS_(me) && giving[me] == G_WATCHING && SUCCESSOR_CLOSED &&
              unwatched[G] -> giving[me] = G_DONE }
  :: atomic { RUNS_(me) && giving[me] == G_WATCHING && SUCCESSOR_DEAD &&
              !unwatched[G] ->
              // Nobody has anything from the one that died.
              assert(from[1] != G || !offered[1]);
#if N > 2
              assert(from[2] != G || !offered[2] || REHEARSES(2));
#endif
              owner = me;
              GiverEnds();
              thaws[me] = true;
              printf("reached: roll back\n") }
  // The watch expires.
  :: atomic { RUNS_(me) && giving[me] == G_WATCHING -> giving[me] = G_DONE }

  // The process ends on purpose.
  :: atomic { RUNS_(me) && stopping[me] && UNDECIDED -> GiverAborts() }
  :: atomic { RUNS_(me) && stopping[me] && giving[me] == G_NONE &&
              !thaws[me] && WATCHED -> Retires() }
  :: atomic { RUNS_(me) && stopping[me] && giving[me] == G_NONE &&
              !thaws[me] && !WATCHED -> Die(me) }
  :: atomic { RUNS_(me) && (giving[me] == G_DONE ||
              (stopping[me] && giving[me] == G_WATCHING)) -> Die(me) }
  od
}

// When nothing happens any more.
proctype Judge() {
end:
  if
#ifndef CALM
  :: atomic { storm -> storm = false }; goto end
#endif
  :: timeout ->
     // Whose they are serves them, alone; whoever else there was has gone.
     assert(life[owner] != RUNS || (owns[owner] && giving[owner] == G_NONE));
     assert(life[0] == DEAD || owner == 0);
     assert(life[1] == DEAD || owner == 1);
#if N > 2
     assert(life[2] == DEAD || owner == 2);
     assert(owner != 2 || !REHEARSES(2));
     printf("reached: the end of three\n");
     if
     :: owns[2] && from[2] == 1 ->
        printf("reached: the third has it from the second\n")
     :: owns[2] && from[2] == 0 ->
        printf("reached: the third has it from the first\n")
     :: else -> skip
     fi;
#endif
#ifdef CALM
     if
     :: crashes == 0 -> assert(owns[owner] && owner != 0)
     // One process died: the other serves, unless it was not there yet or
     // its watch was over.
     :: crashes != 0 && owner == 0 && life[0] != RUNS -> assert(!offered[1])
     :: crashes != 0 && owner == 0 && life[0] == RUNS -> assert(owns[0])
     :: crashes != 0 && owner != 0 -> skip
     fi
#endif
  fi
}

init {
  atomic {
    run Process(0);
    run Process(1);
#if N > 2
    run Process(2);
#endif
    run Judge()
  }
}
