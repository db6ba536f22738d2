#pragma once
/* What the files of the engine share: its state, the verb table, replies. Nobody else includes it.
 */

#include <stdarg.h>
#include <stddef.h>

#include "base/macros.h"
#include "ftp/ftp_engine.h"
#include "ftp/ftp_recent.h"

enum engine_state {
    ENGINE_READY, /* for a line */
    ENGINE_LOGIN, /* asked, and so on: what it waits for */
    ENGINE_LISTEN,
    ENGINE_FILE,
    ENGINE_OPENING,
    ENGINE_TRANSFER,
    ENGINE_TLS,
    ENGINE_CLOSING, /* for good */
};

struct argument {
    const char *text; /* not what ends it: use len */
    size_t len;
};

struct ftp_engine {
    const struct ftp_account *account;
    const char *banner;
    const struct verb *verb; /* whose request is open */
    struct ftp_request *request;
    char *user, *password;
    char *cwd;         /* NULL = "/" */
    char *rename_from; /* between RNFR and RNTO */
    struct ftp_recent recent;
    char *recent_of; /* name of the account that it is of; not the account, which a reload frees */
    struct dynbuf replies;
    int64_t restart, announced;
    uint8_t peer[16]; /* IPv4: the first four bytes */
    unsigned aborts;  /* ABORs to answer when the request is done */
    uint16_t active_port, active_port_min;
    uint8_t state, data_mode, facts, failures;
    bool peer_is_ipv6 : 1, active_allowed : 1;
    bool tls_possible : 1, tls_required : 1, secured : 1;
    bool pbsz : 1, protected : 1; /* PBSZ came; PROT P */
    bool type_ascii : 1;          /* for STAT only: bytes are never changed */
    bool epsv_only : 1;           /* EPSV ALL */
    bool listen_extended : 1;
    bool rename_gone : 1; /* what RNFR named was the session's, and was taken */
    bool quitting : 1;    /* QUIT came during a transfer */
};

enum {
    VERB_STRANGER = 1 << 0, /* also before the login */
    VERB_ARGUMENT = 1 << 1, /* 501 without */
    VERB_REST = 1 << 2,     /* a restart position survives it */
    VERB_RENAME = 1 << 3,   /* and a name of RNFR */
    VERB_VERBATIM = 1 << 4, /* spaces of its argument are part of it */
};

typedef enum ftp_ask ftp_run(struct ftp_engine *en, struct argument a);
/* The answer to FTP_ASK_FILE, as ftp_engine_file_done() gets it. */
typedef void ftp_done(struct ftp_engine *en, int code, const struct ftp_file *file,
                      const char *text);

struct verb {
    char name[5];
    uint8_t flags;
    ftp_run *run;
    ftp_done *done;     /* NULL for those that never ask it */
    const char *syntax; /* what HELP says behind the name */
};
extern const struct verb ftp_verbs[];
extern const size_t ftp_verbs_count;
const struct verb *ftp_verb_find(const char *word, size_t len); /* in any case, or NULL */

/* ---- replies (ftp_replies.c) ---- */

/* "code text" CRLF; control bytes in the text become "?". Returns FTP_ASK_NOTHING, so that a
 * handler ends with it. */
enum ftp_ask ftp_reply(struct ftp_engine *en, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same to somewhere else. */
void ftp_reply_put(struct dynbuf *out, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The begin of one with several lines, "code-text"; ftp_reply() ends it. */
void ftp_reply_first(struct ftp_engine *en, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
void ftp_reply_line(struct ftp_engine *en, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A path as 257 and others show it: quotes doubled. For one use before the next call. */
#define FTP_QUOTED_MAX (2 * FTP_PATH_MAX + 2)
const char *ftp_quote(const char *path, char ret[FTP_QUOTED_MAX]);
/* What went wrong with a file, by the negative errno of jail and upload. */
enum ftp_ask ftp_reply_failure(struct ftp_engine *en, int code, const char *path);
enum ftp_ask ftp_reply_status(struct ftp_engine *en);
enum ftp_ask ftp_reply_features(struct ftp_engine *en);
void ftp_put_facts(const struct ftp_engine *en, struct dynbuf *out, const char *mark);

/* ---- state (ftp_engine.c) ---- */

const char *ftp_engine_cwd(const struct ftp_engine *en);
bool ftp_engine_may(const struct ftp_engine *en, unsigned right);
/* Forgets who was logged in and what he had set up. */
void ftp_engine_log_out(struct ftp_engine *en);
void ftp_engine_forget_password(struct ftp_engine *en);
void ftp_engine_set_text(char **text, const char *to, size_t len);
bool ftp_engine_needs_protection(const struct ftp_engine *en);

/* ---- handlers of the verb table, by file ---- */

/* ftp_verbs_data.c: where the data connection comes from */
ftp_run ftp_run_pasv, ftp_run_epsv, ftp_run_port, ftp_run_eprt;
/* ftp_verbs_file.c: files, folders, and transfers */
ftp_run ftp_run_cwd, ftp_run_cdup, ftp_run_pwd, ftp_run_mkd, ftp_run_rmd, ftp_run_dele,
    ftp_run_rnfr, ftp_run_rnto, ftp_run_size, ftp_run_mdtm, ftp_run_mfmt, ftp_run_mlst,
    ftp_run_stat, ftp_run_utime, ftp_run_rest, ftp_run_allo, ftp_run_stor, ftp_run_appe,
    ftp_run_stou, ftp_run_retr, ftp_run_list, ftp_run_nlst, ftp_run_mlsd;
ftp_done ftp_done_cwd, ftp_done_mkd, ftp_done_rmd, ftp_done_dele, ftp_done_rnfr, ftp_done_rnto,
    ftp_done_size, ftp_done_mdtm, ftp_done_modified, ftp_done_mlst, ftp_done_stat;
