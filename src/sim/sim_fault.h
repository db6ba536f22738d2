#pragma once
/* The ways in which a simulated camera misbehaves: names, parameters, when they strike. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum sim_fault_id {
    SIM_FAULT_NONE,
    SIM_FAULT_SHORT_BODY,
    SIM_FAULT_CHUNKED,
    SIM_FAULT_CHUNKED_CUT,
    SIM_FAULT_NO_LENGTH,
    SIM_FAULT_NO_LENGTH_CUT,
    SIM_FAULT_LONGER_BODY,
    SIM_FAULT_TRUNCATED,
    SIM_FAULT_EMPTY,
    SIM_FAULT_CLOSE,
    SIM_FAULT_RESET,
    SIM_FAULT_RESET_EARLY,
    SIM_FAULT_RAW,
    SIM_FAULT_ICY,
    SIM_FAULT_BAD_HEADER,
    SIM_FAULT_HEADER_FLOOD,
    SIM_FAULT_NEGATIVE_LENGTH,
    SIM_FAULT_TWO_LENGTHS,
    SIM_FAULT_BARE_LF,
    SIM_FAULT_HTML,
    SIM_FAULT_XML,
    SIM_FAULT_JSON,
    SIM_FAULT_HIKVISION,
    SIM_FAULT_HIKVISION_WORD,
    SIM_FAULT_HIKVISION_LOCKED,
    SIM_FAULT_DAHUA,
    SIM_FAULT_SOAP,
    SIM_FAULT_STREAM,
    SIM_FAULT_OLD,
    SIM_FAULT_TYPE,
    SIM_FAULT_NO_TYPE,
    SIM_FAULT_STATUS,
    SIM_FAULT_ENDLESS,
    SIM_FAULT_HUGE,
    SIM_FAULT_DRIP,
    SIM_FAULT_HANG,
    SIM_FAULT_HANG_BODY,
    SIM_FAULT_DELAY,
    SIM_FAULT_REDIRECT,
    SIM_FAULT_REDIRECT_FILE,
    SIM_FAULT_REDIRECT_LOOP,
    SIM_FAULT_COUNT
};

struct sim_fault_kind {
    const char *name;
    const char *parameter; /* its default, NULL = takes none */
    const char *help;
};
extern const struct sim_fault_kind sim_fault_kinds[SIM_FAULT_COUNT];

#define SIM_FAULT_PARAMETER_MAX 256
#define SIM_FAULTS_MAX 16 /* at once: more nobody can reason about */

/* Of a camera that pushes; the parameter of those that have one is a number. */
enum sim_push_fault_id {
    SIM_PUSH_FAULT_NONE,
    SIM_PUSH_FAULT_CUT,
    SIM_PUSH_FAULT_RESET,
    SIM_PUSH_FAULT_VANISH,
    SIM_PUSH_FAULT_STALL,
    SIM_PUSH_FAULT_DRIP,
    SIM_PUSH_FAULT_ABORT,
    SIM_PUSH_FAULT_ABRUPT,
    SIM_PUSH_FAULT_PASSWORD,
    SIM_PUSH_FAULT_EMPTY,
    SIM_PUSH_FAULT_TEXT,
    SIM_PUSH_FAULT_TWICE,
    SIM_PUSH_FAULT_VIDEO,
    SIM_PUSH_FAULT_OTHER,
    SIM_PUSH_FAULT_COUNT
};
extern const struct sim_fault_kind sim_push_fault_kinds[SIM_PUSH_FAULT_COUNT];

/* One fault that is switched on. */
struct sim_fault {
    int id; /* of enum sim_fault_id or, in a set of a camera that pushes, enum sim_push_fault_id */
    char parameter[SIM_FAULT_PARAMETER_MAX];
    unsigned every;      /* strikes each n-th request; 1 = always */
    double probability;  /* 0..1, when > 0 instead of `every` */
    unsigned long asked; /* requests since it was switched on */
};

struct sim_fault_set {
    struct sim_fault faults[SIM_FAULTS_MAX];
    size_t count;
    uint64_t random; /* state; same seed, same faults */
};

/* Adds "NAME[:PARAM][@N|@P%]", several separated by commas (a comma in PARAM is not possible). */
int sim_fault_parse(struct sim_fault_set *set, const char *text, struct err *e);
int sim_push_fault_parse(struct sim_fault_set *set, const char *text, struct err *e);
/* The fault of this name, when it is switched on; it strikes what is no picture, each time. */
const struct sim_fault *sim_fault_find(const struct sim_fault_set *set, int id);
/* The fault that strikes this request, or NULL. */
const struct sim_fault *sim_fault_pick(struct sim_fault_set *set);
