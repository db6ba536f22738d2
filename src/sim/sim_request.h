#pragma once
/* What a simulated camera understands of a request: pure functions over the bytes. */

#include <stdbool.h>
#include <stddef.h>

#include "sim/camera_sim.h"

#define SIM_VALUE_MAX 512

struct sim_request {
    char method[16];
    char target[2048]; /* as sent: digest hashes cover it */
    char path[512];    /* decoded, without the query */
    const char *query; /* into target; "" without one */
    char authorization[1024];
    bool keep_alive;
    size_t body_size; /* announced; read over */
};

/* 0: not complete yet; > 0: bytes of the header; -EINVAL: not HTTP. */
long sim_request_parse(const char *data, size_t size, struct sim_request *ret);
/* A query parameter, percent-decoded. False when absent (then ret is ""). */
bool sim_query_get(const char *query, const char *name, char ret[SIM_VALUE_MAX]);

enum sim_login { SIM_LOGIN_OK, SIM_LOGIN_MISSING, SIM_LOGIN_WRONG, SIM_LOGIN_STALE };
enum sim_login sim_check_basic(const struct sim_request *req, const char *user,
                               const char *password);
enum sim_login sim_check_digest(const struct sim_request *req, enum sim_digest digest,
                                const char *realm, const char *nonce, const char *user,
                                const char *password);
