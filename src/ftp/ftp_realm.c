#include "ftp/ftp_realm.h"

#include <string.h>

#include "base/mem.h"

struct ftp_realm {
    int refs;
    struct ftp_accounts *accounts;
    size_t count;
    struct ftp_seat **seats; /* beside their accounts */
};

struct ftp_seat *ftp_seat_ref(struct ftp_seat *s)
{
    __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
    return s;
}

void ftp_seat_unref(struct ftp_seat *s)
{
    if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    ftp_jail_unref(s->jail);
    ftp_accounts_unref(s->accounts);
    free(s);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* The addresses from which it may log in apart: those are asked for each session. */
static bool same_account(const struct ftp_account *a, const struct ftp_account *b)
{
    return same_text(a->name, b->name) && same_text(a->password, b->password) &&
           same_text(a->camera, b->camera) && same_text(a->directory, b->directory) &&
           a->rights == b->rights && a->quota == b->quota && a->files_max == b->files_max &&
           a->size_max == b->size_max && a->rate == b->rate && a->sessions_max == b->sessions_max &&
           a->tls_required == b->tls_required && a->foreign_data == b->foreign_data;
}

static struct ftp_seat *find_same(const struct ftp_realm *r, const struct ftp_account *a)
{
    for (size_t i = 0; r && i < r->count; i++)
        if (same_account(r->seats[i]->account, a))
            return r->seats[i];
    return NULL;
}

static int make_seat(struct ftp_realm *r, const struct ftp_jail_options *o,
                     const struct ftp_realm *before, const struct ftp_account *a, struct err *e)
{
    struct ftp_seat *s = find_same(before, a);
    if (s) {
        r->seats[r->count++] = ftp_seat_ref(s);
        return 0;
    }
    struct ftp_jail *jail = NULL;
    int code = ftp_jail_open(o, a, &jail, e);
    if (code < 0)
        return err_prefix(e, "FTP account '%s'", a->name), code;
    s = xcalloc(1, sizeof(*s));
    *s = (struct ftp_seat){
        .account = a, .jail = jail, .accounts = ftp_accounts_ref(r->accounts), .refs = 1};
    r->seats[r->count++] = s;
    return 0;
}

int ftp_realm_new(struct ftp_accounts *accounts, const struct ftp_jail_options *o,
                  const struct ftp_realm *before, struct ftp_realm **ret, struct err *e)
{
    size_t count = ftp_accounts_count(accounts);
    struct ftp_realm *r = xcalloc(1, sizeof(*r));
    r->refs = 1;
    r->accounts = ftp_accounts_ref(accounts);
    r->seats = xcalloc(count, sizeof(struct ftp_seat *));
    for (size_t i = 0; i < count; i++) {
        int code = make_seat(r, o, before, ftp_accounts_at(accounts, i), e);
        if (code < 0) {
            ftp_realm_unref(r);
            return code;
        }
    }
    *ret = r;
    return 0;
}

struct ftp_realm *ftp_realm_ref(struct ftp_realm *r)
{
    __atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
    return r;
}

void ftp_realm_unref(struct ftp_realm *r)
{
    if (!r || __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < r->count; i++)
        ftp_seat_unref(r->seats[i]);
    ftp_accounts_unref(r->accounts);
    free(r->seats);
    free(r);
}

struct ftp_accounts *ftp_realm_accounts(const struct ftp_realm *r)
{
    return r->accounts;
}

struct ftp_seat *ftp_realm_seat(const struct ftp_realm *r, const struct ftp_account *a)
{
    for (size_t i = 0; i < r->count; i++)
        if (ftp_accounts_at(r->accounts, i) == a)
            return r->seats[i];
    return NULL;
}

bool ftp_realm_has(const struct ftp_realm *r, const struct ftp_seat *s, const struct sockaddr *peer)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct host_list *hosts = ftp_accounts_at(r->accounts, i)->hosts;
        if (r->seats[i] == s)
            return !hosts || host_list_has_address(hosts, peer);
    }
    return false;
}
