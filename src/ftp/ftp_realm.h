#pragma once
/* The accounts of one configuration, each with its seat: its jail and how many sessions it has. A
 * reload makes a new realm; accounts that did not change keep their seats, so that quota and
 * sessions are counted on. References may be taken and dropped by any thread. */

#include "base/err.h"
#include "ftp/ftp_account.h"
#include "ftp/ftp_jail.h"

struct ftp_seat {
    const struct ftp_account *account;
    struct ftp_jail *jail;
    int sessions; /* of the server's thread */
    /* private */
    struct ftp_accounts *accounts; /* keeps the account alive */
    int refs;
};
struct ftp_seat *ftp_seat_ref(struct ftp_seat *s);
void ftp_seat_unref(struct ftp_seat *s);

struct ftp_realm;
/* Opens jails, which makes folders: not on the server's thread. `before` may be NULL. */
int ftp_realm_new(struct ftp_accounts *accounts, const struct ftp_jail_options *o,
                  const struct ftp_realm *before, struct ftp_realm **ret, struct err *e);
struct ftp_realm *ftp_realm_ref(struct ftp_realm *r);
void ftp_realm_unref(struct ftp_realm *r);
DEFINE_AUTO(ftp_realm, ftp_realm_unref)

struct ftp_accounts *ftp_realm_accounts(const struct ftp_realm *r);
/* Of an account of exactly this realm; borrowed. */
struct ftp_seat *ftp_realm_seat(const struct ftp_realm *r, const struct ftp_account *a);
/* Whether a session from `peer` that has this seat may go on: the account is there as it was. */
bool ftp_realm_has(const struct ftp_realm *r, const struct ftp_seat *s,
                   const struct sockaddr *peer);
