#pragma once
/* A stack of its own for the handlers of fatal signals: a thread whose stack has overflowed has no
 * room to say so on it. */

/* For the start of each thread, and once for the main one: gives the thread an alternate signal
 * stack, which goes with it, and lets through the signals that a fault of its own raises, whatever
 * else it blocks: a blocked one would end the process without its handler. Without memory the
 * thread goes on without. */
void altstack_use(void);
