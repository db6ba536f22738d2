#pragma once
/* Where a trigger says that its camera is, and how to log in there: "user:password@host:port" with
 * an optional ",rtsp_port". Pure; the text is a secret, so no error repeats any of it. */

#include <stddef.h>

#include "base/err.h"

/* Bytes with NUL. The whole text has room for all of them at once. */
#define DEVICE_USER_MAX 128
#define DEVICE_PASSWORD_MAX 256
#define DEVICE_HOST_MAX 254 /* DNS */
#define DEVICE_PARAMS_MAX 656

struct device_params {
    char user[DEVICE_USER_MAX];         /* may be "" */
    char password[DEVICE_PASSWORD_MAX]; /* secret, may be "" */
    char host[DEVICE_HOST_MAX];         /* name or address, IPv6 without brackets */
    int port;
    int rtsp_port;                     /* the HTTP port when none is given */
    char address[DEVICE_HOST_MAX + 8]; /* host:port or [v6]:port, as `struct camera` has it */
};

/* Splits at the last '@', the login at its first ':', the place at its last ':'; so any password
 * works. A host must be a name or an address and nothing that could change a URL's meaning.
 * 0 or -EINVAL. */
int device_params_parse(const char *text, size_t len, struct device_params *ret, struct err *e);
