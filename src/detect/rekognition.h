#pragma once
/* The detector `rekognition`: Amazon Rekognition's DetectLabels, asked with the picture's bytes.
 *
 * Every answer costs money, so: a picture that Rekognition would refuse is made fit for it here or
 * refused here; an answer that was had is never asked for again, however broken it is; tries are
 * paced, bounded in number and in time, and go to the other region when one fails.
 *
 * Two regions. With REKOGNITION_PRIMARY the first is asked as long as it answers. A time-out or a
 * refused connection puts it to rest at once, other failures after three in a row; the second is
 * asked meanwhile, and after the rest one picture tries the first again. With REKOGNITION_NEAREST
 * the one that answers faster is asked, and the other is measured now and then.
 *
 * Memory: a call under way holds the picture and its request (4/3 of the picture, 7 MB at most),
 * so `in_flight` requests hold up to in_flight * 7 MB. Pictures are converted one at a time.
 *
 * detect(): 0 and the answer, or
 *   -EINVAL, ERR_NEVER     this picture cannot be examined there: its format or size after all that
 *                          could be done
 *   -EBADMSG, ERR_NEVER    answered, and the answer is of no use; asking again would cost again
 *   -EACCES, ERR_NEVER     credentials, rights or configuration: the text says what to do
 *   -EREMOTEIO, ERR_NEVER  the configuration is wrong in another way
 *   ERR_LATER              away, throttled beyond patience, both regions down, stopped (-ECANCELED)
 * verdict.cloud_calls is filled in any case, also when it fails. verdict.found has nothing below
 * the minimum confidence (detect_request's, else the options'): labels in lower case, the local
 * models' "person" and "car" among them, a detection for each instance and one without a box for a
 * label that has none. verdict.model is "rekognition <version of the label model>".
 *
 * Any number of threads may call detect(); those beyond `in_flight` wait for their turn. */

#include "aws/aws_config.h"
#include "detect/detector.h"

#define REKOGNITION_REGIONS_MAX 2
#define REKOGNITION_IN_FLIGHT_MAX 64
#define REKOGNITION_LABELS_MAX 1000

enum rekognition_choice { REKOGNITION_PRIMARY, REKOGNITION_NEAREST, REKOGNITION_CHOICE_COUNT };

struct rekognition_region {
    const char *name;     /* "eu-west-1" */
    const char *endpoint; /* "http://host:port"; NULL or "" = AWS's */
};

struct rekognition_options { /* strings are copied */
    /* In order of preference. None: the region that other AWS programs would take. */
    struct rekognition_region regions[REKOGNITION_REGIONS_MAX];
    int region_count;
    enum rekognition_choice choice;
    struct aws_chain_options login;
    double confidence_min; /* 0..1 */
    int labels_max;        /* 1..REKOGNITION_LABELS_MAX */
    int side_max;          /* pixels of the longer side that are sent; 0 = what Rekognition takes */
    int in_flight;         /* 1..REKOGNITION_IN_FLIGHT_MAX */
    double calls_per_second; /* of both regions together; 0 = no limit */
    int64_t timeout_ms;      /* without a byte; the whole of a call gets more for a large picture */
    int64_t patience_ms;     /* no further try is begun after that */
    struct picture_limits limits;
    int stop_fd; /* readable: calls end with -ECANCELED; -1 = none. Must outlive the detector. */
};

void rekognition_register_metrics(void);
/* Asks nobody yet, so it works without a network. -EINVAL: no region, half a key pair. The result
 * has the ops of detector.h and is closed by them. */
int rekognition_open(const struct rekognition_options *o, struct detector **ret, struct err *e);

struct rekognition_config { /* [rekognition] */
    const char *primary_region, *region;
    int region_choice; /* enum rekognition_choice */
    const char *primary_endpoint, *endpoint;
    const char *minimum_confidence; /* see rekognition_confidence() */
    int64_t max_labels, side_max, in_flight;
    double calls_per_second;
    int64_t timeout_ms, patience_ms;
    struct aws_login_config login;
};
extern const struct cfg_section rekognition_config_section;
/* Strings are borrowed from the configuration; limits and stop_fd are the caller's to set after. */
void rekognition_config_options(const struct rekognition_config *c,
                                struct rekognition_options *ret);
/* "55", "55%" and "0.55" are 0.55: what has a % or is above 1 is percent. 0 or -EINVAL. */
int rekognition_confidence(const char *text, double *ret);

/* What people want to know of each region, in the order of the options. Any thread. */
struct rekognition_state {
    const char *region; /* valid as long as the detector */
    const char *state;  /* "closed": is asked; "open": rests; "half-open": one picture tries it */
    int64_t rest_ms;    /* until it is tried again; 0 = now */
    double answer_ms;   /* moving average; 0 = not asked yet */
};
int rekognition_states(struct detector *d, struct rekognition_state ret[REKOGNITION_REGIONS_MAX]);
