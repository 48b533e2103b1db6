/* The protocol of ownership: one saga, two workers, and a writer that owns nothing.
 *
 * What is modelled: an append with an expected version; the heartbeat, by which a worker has a row, and the burial of
 * workers that died or only seem to have; the takeover; notifications, read and acknowledged in two steps. The saga
 * waits for `WANTED` signals, makes one call, and ends with its answer; `SENT` signals come, at any moment.
 *
 * Each statement, or `atomic` block, is one transaction of the database or one act of a worker. Between any two of them
 * a worker may stand still for as long as it likes, or die: `DEATHS` of the two do so.
 *
 * `#ifdef` plants a fault; tests/model/test_ownership.py says which, and that each is found.
 */

#define WORKERS 2
#define NOBODY 9
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef BURIALS
#define BURIALS 1    /* how often a worker that lives counts as gone */
#endif
#ifndef WANTED
#define WANTED 1     /* the signals that the saga waits for */
#endif
#ifndef SENT
#define SENT 2       /* the signals that come */
#endif

/* ── The database ── */

byte head = 1;               /* the version of the last event; the first says that worker 0 owns the saga */
byte owner = 0;              /* the rest is the fold of the log */
byte signals = 0;
bool intent = false;
bool ended = false;
bool row[WORKERS] = true;    /* whether the worker has a row: a heartbeat within its lease */
unsigned bells : 16 = 0;     /* one bit for each version that has a notification */

/* ── The world ── */

bool alive[WORKERS] = true;
byte deaths = 0;
byte burials = 0;

/* An append of the owner: accepted if nobody has appended since `seen`. */
inline append(who, seen, is_written) {
    is_written = (seen == head);
#ifdef VERSION_IGNORED
    is_written = true;
#endif
    if
    :: is_written -> head++; seen = head; assert(owner == who)   /* two workers never both advance a saga */
    :: else -> skip
    fi
}

proctype Worker(byte me) {
    byte seen = 0;           /* the version as of which this worker knows the saga; 0: it does not own it */
    byte known = 0;          /* the signals that it knows of */
    byte found = 0;          /* the version at which it found an orphan */
    bool was_called = false; /* the call has been made here, and has not answered */
    bool is_answered = false;
    bool is_intended = false;
    bool is_written = false;
    bool must_read = false;
    unsigned pending : 16 = 0;

    if :: me == 0 -> seen = 1 :: else -> skip fi;
    {
    do
    :: true ->
        /* The heartbeat. */
        row[me] = true;

        /* Recovery: bury who is gone, then take over what has no living owner. */
        atomic {
            if
#ifndef NEVER_BURIED
            :: !alive[1 - me] -> row[1 - me] = false
#endif
            :: alive[1 - me] && row[1 - me] && burials < BURIALS -> burials++; row[1 - me] = false
            :: alive[1 - me] -> skip
#ifdef NEVER_BURIED
            :: !alive[1 - me] -> skip
#endif
            fi
        };
        atomic {
            found = 0;
            if
            :: !ended && owner != me && !row[owner] -> found = head
            :: else -> skip
            fi
        };
        if
        :: found ->
            atomic {
#ifdef TAKEOVER_UNTOLD
                seen = found; known = signals; is_intended = intent; was_called = false; is_answered = false;
#else
                if
                :: found == head ->
                    head++; owner = me; seen = head; known = signals; is_intended = intent; was_called = false; is_answered = false
                :: else -> skip    /* somebody was faster: look again later */
                fi;
#endif
                found = 0
            };
#ifndef NOT_RESUMED
            if
            :: seen && is_intended -> was_called = true    /* what was under way is done again, under the same key */
            :: else -> skip
            fi
#endif
        :: else -> skip
        fi;

        /* Notifications: look, read, acknowledge. */
        atomic { pending = (owner == me || ended -> bells : 0) };
        if
        :: pending && seen ->
            atomic {
                if
                :: owner == me && !ended -> seen = head; known = signals; is_intended = intent
                :: else -> seen = 0; was_called = false; is_answered = false
                fi
            }
        :: else -> skip
        fi;
        atomic {
#ifdef ACKNOWLEDGES_ALL
            if :: pending -> bells = 0 :: else -> skip fi;
#else
            bells = bells & ~pending;
#endif
            pending = 0
        };

        /* The call answers; the outcome is appended. */
        if
        :: seen && was_called -> was_called = false; is_answered = true
        :: else -> skip
        fi;
        if
        :: seen && is_answered ->
            atomic {
                append(me, seen, is_written);
                if
                :: is_written -> assert(intent); ended = true; seen = 0; is_answered = false; is_written = false
                :: else -> must_read = true
                fi
            }
        :: else -> skip
        fi;

        /* What the signals lead to: the intent is appended, then the call is made. */
        if
        :: seen && known >= WANTED && !is_intended && !is_answered && !must_read ->
#ifdef CALLED_FIRST
            assert(intent);
#endif
            atomic {
                append(me, seen, is_written);
#ifdef REFUSED_IS_WRITTEN
                if
                :: is_written -> intent = true
                :: else -> is_written = true
                fi;
                is_intended = true
#else
                if
                :: is_written -> assert(!intent); intent = true; is_intended = true   /* an intent is recorded once */
                :: else -> must_read = true
                fi
#endif
            };
            if
            :: is_written -> assert(intent); was_called = true; is_written = false    /* no call before its intent */
            :: else -> skip
            fi
        :: else -> skip
        fi;

        /* After a conflict: the log says who owns the saga. */
        if
        :: must_read ->
            atomic {
                must_read = false;
                if
                :: owner == me && !ended ->
                    seen = head; known = signals; is_intended = intent;
#ifdef FACT_FORGOTTEN
                    is_answered = false
#endif
                :: else -> seen = 0; was_called = false; is_answered = false
                fi
            }
        :: else -> skip
        fi
    od
    } unless { !alive[me] }
}

/* A writer that owns nothing: each signal is appended at the version that the writer has read, with a notification. */
proctype Writer() {
    byte version;
    do
    :: signals == SENT || ended -> break
    :: else ->
        version = head;
#ifdef NOTIFIED_APART
        atomic { if :: version == head && !ended -> head++; signals++; version = head :: else -> version = 0 fi };
        if
        :: version -> bells = bells | (1 << version)
        :: version && signals == SENT -> break    /* it died between the two */
        :: else -> skip
        fi
#else
        atomic {
            if
            :: version == head && !ended -> head++; signals++; bells = bells | (1 << head)
            :: else -> skip
            fi
        }
#endif
    od
}

/* A death takes what a worker has in memory; its row stays. */
proctype Death() {
    byte who;
    do
    :: deaths < DEATHS -> atomic { if :: who = 0 :: who = 1 fi; alive[who] = false; deaths++ }
    :: true -> break
    od
}

init { atomic { run Worker(0); run Worker(1); run Writer(); run Death() } }

ltl never_stranded { <> ended }
