/* The table of verbs, and those that only change what the session has set up. */

#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "ftp/ftp_engine_internal.h"
#include "ftp/ftp_list.h"

static ftp_run run_user, run_pass, run_acct, run_rein, run_quit, run_auth, run_pbsz, run_prot,
    run_ccc, run_type, run_mode, run_stru, run_abor, run_feat, run_opts, run_help, run_site,
    run_syst, run_noop, run_clnt, run_smnt;

enum {
    STRANGER = VERB_STRANGER,
    ARGUMENT = VERB_ARGUMENT,
    /* A restart position lasts until the transfer that it is for. RFC 3659 wants that one next; but
     * cameras set up the data connection in between, and to forget the position then would make
     * the end of a file its whole. */
    SETUP = VERB_REST,
    REST = VERB_REST,
};

const struct verb ftp_verbs[] = {
    {"ABOR", STRANGER, run_abor, NULL, ""},
    {"ACCT", STRANGER, run_acct, NULL, "text"},
    {"ALLO", SETUP | ARGUMENT, ftp_run_allo, NULL, "bytes"},
    {"APPE", ARGUMENT, ftp_run_appe, NULL, "file"},
    {"AUTH", STRANGER | ARGUMENT, run_auth, NULL, "TLS"},
    {"CCC", STRANGER, run_ccc, NULL, ""},
    {"CDUP", 0, ftp_run_cdup, NULL, ""},
    {"CLNT", STRANGER, run_clnt, NULL, "name of the client"},
    {"CWD", 0, ftp_run_cwd, ftp_done_cwd, "folder"},
    {"DELE", ARGUMENT, ftp_run_dele, ftp_done_dele, "file"},
    {"EPRT", SETUP | ARGUMENT, ftp_run_eprt, NULL, "|1|address|port|"},
    {"EPSV", SETUP, ftp_run_epsv, NULL, "[1|2|ALL]"},
    {"FEAT", STRANGER, run_feat, NULL, ""},
    {"HELP", STRANGER, run_help, NULL, "[command]"},
    {"LIST", 0, ftp_run_list, NULL, "[folder]"},
    {"MDTM", ARGUMENT, ftp_run_mdtm, ftp_done_mdtm, "[YYYYMMDDHHMMSS] file"},
    {"MFMT", ARGUMENT, ftp_run_mfmt, ftp_done_modified, "YYYYMMDDHHMMSS file"},
    {"MKD", ARGUMENT, ftp_run_mkd, ftp_done_mkd, "folder"},
    {"MLSD", 0, ftp_run_mlsd, NULL, "[folder]"},
    {"MLST", 0, ftp_run_mlst, ftp_done_mlst, "[file]"},
    {"MODE", SETUP | ARGUMENT, run_mode, NULL, "S"},
    {"NLST", 0, ftp_run_nlst, NULL, "[folder]"},
    {"NOOP", STRANGER, run_noop, NULL, ""},
    {"OPTS", STRANGER | ARGUMENT, run_opts, NULL, "UTF8 ON | MLST facts"},
    {"PASS", STRANGER | VERB_VERBATIM, run_pass, NULL, "password"},
    {"PASV", SETUP, ftp_run_pasv, NULL, ""},
    {"PBSZ", STRANGER | ARGUMENT, run_pbsz, NULL, "0"},
    {"PORT", SETUP | ARGUMENT, ftp_run_port, NULL, "h1,h2,h3,h4,p1,p2"},
    {"PROT", STRANGER | SETUP | ARGUMENT, run_prot, NULL, "P | C"},
    {"PWD", 0, ftp_run_pwd, NULL, ""},
    {"QUIT", STRANGER, run_quit, NULL, ""},
    {"REIN", STRANGER, run_rein, NULL, ""},
    {"REST", ARGUMENT, ftp_run_rest, NULL, "offset"},
    {"RETR", REST | ARGUMENT, ftp_run_retr, NULL, "file"},
    {"RMD", ARGUMENT, ftp_run_rmd, ftp_done_rmd, "folder"},
    {"RNFR", ARGUMENT, ftp_run_rnfr, ftp_done_rnfr, "file"},
    {"RNTO", VERB_RENAME | ARGUMENT, ftp_run_rnto, ftp_done_rnto, "new name"},
    {"SITE", ARGUMENT, run_site, ftp_done_modified, "HELP | CHMOD mode file | UTIME time file"},
    {"SIZE", ARGUMENT, ftp_run_size, ftp_done_size, "file"},
    {"SMNT", 0, run_smnt, NULL, "(not implemented)"},
    {"STAT", 0, ftp_run_stat, ftp_done_stat, "[folder]"},
    {"STOR", REST | ARGUMENT, ftp_run_stor, NULL, "file"},
    {"STOU", 0, ftp_run_stou, NULL, "[file]"},
    {"STRU", SETUP | ARGUMENT, run_stru, NULL, "F"},
    {"SYST", STRANGER, run_syst, NULL, ""},
    {"TYPE", SETUP | ARGUMENT, run_type, NULL, "I | A"},
    {"USER", STRANGER | ARGUMENT, run_user, NULL, "name"},
    {"XCUP", 0, ftp_run_cdup, NULL, ""},
    {"XCWD", 0, ftp_run_cwd, ftp_done_cwd, "folder"},
    {"XMKD", ARGUMENT, ftp_run_mkd, ftp_done_mkd, "folder"},
    {"XPWD", 0, ftp_run_pwd, NULL, ""},
    {"XRMD", ARGUMENT, ftp_run_rmd, ftp_done_rmd, "folder"},
};
const size_t ftp_verbs_count = ARRAY_LEN(ftp_verbs);

const struct verb *ftp_verb_find(const char *word, size_t len)
{
    for (size_t i = 0; i < ftp_verbs_count; i++)
        if (strlen(ftp_verbs[i].name) == len && strncasecmp(ftp_verbs[i].name, word, len) == 0)
            return &ftp_verbs[i];
    return NULL;
}

static bool is(struct argument a, const char *word)
{
    return a.len == strlen(word) && strncasecmp(a.text, word, a.len) == 0;
}

static struct argument first_word(struct argument *rest)
{
    const char *space = memchr(rest->text, ' ', rest->len);
    struct argument word = {rest->text, space ? (size_t)(space - rest->text) : rest->len};
    rest->text += word.len;
    rest->len -= word.len;
    while (rest->len > 0 && rest->text[0] == ' ')
        rest->text++, rest->len--;
    return word;
}

/* ---- access ---- */

enum { USER_MAX = 255, PASSWORD_MAX = 511 /* what crypt(3) takes */ };

static bool holds_control(struct argument a)
{
    for (size_t i = 0; i < a.len; i++)
        if ((unsigned char)a.text[i] < 0x20 || a.text[i] == 0x7f)
            return true;
    return false;
}

/* The same answer whoever it is. USER again begins anew, which cameras do on a kept connection for
 * each picture. */
static enum ftp_ask run_user(struct ftp_engine *en, struct argument a)
{
    if (en->tls_required && !en->secured)
        return ftp_reply(en, 530, "This server needs TLS: switch on FTPS (explicit).");
    if (a.len > USER_MAX || holds_control(a))
        return ftp_reply(en, 501, "That is no user name.");
    ftp_engine_log_out(en);
    ftp_engine_set_text(&en->user, a.text, a.len);
    return ftp_reply(en, 331, "Password?");
}

static enum ftp_ask run_pass(struct ftp_engine *en, struct argument a)
{
    if (en->account)
        return ftp_reply(en, 503, "Already logged in.");
    if (!en->user)
        return ftp_reply(en, 503, "Say USER first.");
    if (a.len > PASSWORD_MAX || memchr(a.text, '\0', a.len))
        return ftp_reply(en, 501, "That is no password.");
    ftp_engine_forget_password(en);
    ftp_engine_set_text(&en->password, a.text, a.len);
    en->state = ENGINE_LOGIN;
    return FTP_ASK_LOGIN;
}

static enum ftp_ask run_acct(struct ftp_engine *en, struct argument a UNUSED)
{
    return ftp_reply(en, 202, "No account is needed beside the user.");
}

/* RFC 4217 11 wants the way back to clear text with it, which is as bad an idea as CCC. */
static enum ftp_ask run_rein(struct ftp_engine *en, struct argument a UNUSED)
{
    if (en->secured)
        return ftp_reply(en, 502, "Not within TLS; USER begins a new login.");
    ftp_engine_log_out(en);
    ftp_recent_clear(&en->recent);
    en->facts = FTP_FACT_ALL;
    return ftp_reply(en, 220, "Ready for a new login.");
}

static enum ftp_ask run_quit(struct ftp_engine *en, struct argument a UNUSED)
{
    (void)ftp_reply(en, 221, "Goodbye.");
    return FTP_ASK_CLOSE;
}

/* ---- TLS ---- */

static enum ftp_ask run_auth(struct ftp_engine *en, struct argument a)
{
    if (!is(a, "TLS") && !is(a, "TLS-C") && !is(a, "SSL") && !is(a, "TLS-P"))
        return ftp_reply(en, 504, "Say AUTH TLS.");
    if (en->secured)
        return ftp_reply(en, 503, "This connection is in TLS already.");
    if (!en->tls_possible)
        return ftp_reply(en, 502, "TLS is not set up on this server.");
    (void)ftp_reply(en, 234, "Begin the TLS handshake.");
    en->state = ENGINE_TLS;
    return FTP_ASK_TLS;
}

static enum ftp_ask run_pbsz(struct ftp_engine *en, struct argument a)
{
    int64_t size;
    if (!en->secured)
        return ftp_reply(en, 503, "Say AUTH TLS first.");
    if (parse_int64(a.text, a.len, 0, UINT32_MAX, &size) < 0)
        return ftp_reply(en, 501, "Say PBSZ 0.");
    en->pbsz = true;
    return ftp_reply(en, 200, "PBSZ=0");
}

static enum ftp_ask run_prot(struct ftp_engine *en, struct argument a)
{
    if (!en->secured)
        return ftp_reply(en, 503, "Say AUTH TLS first.");
    if (!en->pbsz)
        return ftp_reply(en, 503, "Say PBSZ 0 first.");
    if (is(a, "S") || is(a, "E"))
        return ftp_reply(en, 536, "TLS has the levels C and P only.");
    bool protect = is(a, "P");
    if (!protect && !is(a, "C"))
        return ftp_reply(en, 504, "Say PROT P or PROT C.");
    if (!protect && (en->tls_required || (en->account && en->account->tls_required)))
        return ftp_reply(en, 534, "Data connections must be protected here.");
    en->protected = protect;
    return ftp_reply(
        en, 200, protect ? "Data connections are protected." : "Data connections are in clear.");
}

static enum ftp_ask run_ccc(struct ftp_engine *en, struct argument a UNUSED)
{
    if (!en->secured)
        return ftp_reply(en, 533, "This connection is in clear.");
    return ftp_reply(en, 534, "The control connection stays in TLS.");
}

/* ---- parameters ---- */

/* Bytes are stored as they come in every type: half of all cameras send pictures as text, which
 * only a server that translates line ends would damage. */
static enum ftp_ask run_type(struct ftp_engine *en, struct argument a)
{
    if (is(a, "A") || is(a, "A N")) {
        en->type_ascii = true;
        return ftp_reply(en, 200, "Type A; bytes are kept as they are.");
    }
    if (!is(a, "I") && !is(a, "L 8") && !is(a, "L8") && !is(a, "I N"))
        return ftp_reply(en, 504, "Say TYPE I.");
    en->type_ascii = false;
    return ftp_reply(en, 200, "Type I.");
}

static enum ftp_ask run_mode(struct ftp_engine *en, struct argument a)
{
    return is(a, "S") ? ftp_reply(en, 200, "Mode S.")
                      : ftp_reply(en, 504, "There is MODE S (stream) only.");
}

static enum ftp_ask run_stru(struct ftp_engine *en, struct argument a)
{
    return is(a, "F") ? ftp_reply(en, 200, "Structure F.")
                      : ftp_reply(en, 504, "There is STRU F (file) only.");
}

static enum ftp_ask run_feat(struct ftp_engine *en, struct argument a UNUSED)
{
    return ftp_reply_features(en);
}

static enum ftp_ask set_facts(struct ftp_engine *en, struct argument wanted)
{
    static const char *const names[] = {"type", "size", "modify", "perm", "unique"};
    en->facts = 0;
    while (wanted.len > 0) {
        const char *end = memchr(wanted.text, ';', wanted.len);
        struct argument fact = {wanted.text, end ? (size_t)(end - wanted.text) : wanted.len};
        int i;
        if (parse_choice(fact.text, fact.len, names, ARRAY_LEN(names), &i) == 0)
            en->facts |= (uint8_t)(1u << i); /* of others RFC 3659 7.9 wants no word */
        size_t used = MIN(fact.len + 1, wanted.len);
        wanted.text += used;
        wanted.len -= used;
    }
    AUTO_DONE(dynbuf) facts;
    dynbuf_init(&facts, 128); /* five short names */
    ftp_put_facts(en, &facts, "");
    return ftp_reply(en, 200, "MLST OPTS %s", dynbuf_str(&facts));
}

static enum ftp_ask run_opts(struct ftp_engine *en, struct argument a)
{
    struct argument name = first_word(&a);
    if (is(name, "MLST"))
        return set_facts(en, a);
    if (!is(name, "UTF8") && !is(name, "UTF-8"))
        return ftp_reply(en, 501, "There are OPTS UTF8 and OPTS MLST only.");
    if (a.len > 0 && !is(a, "ON") && !is(a, "NLST"))
        return ftp_reply(en, 504, "Names are in UTF-8, always.");
    return ftp_reply(en, 200, "Names are in UTF-8.");
}

/* ---- the rest ---- */

/* During a transfer it comes by ftp_engine_interrupt(). */
static enum ftp_ask run_abor(struct ftp_engine *en, struct argument a UNUSED)
{
    en->data_mode = FTP_DATA_NONE;
    return ftp_reply(en, 226, "Nothing was under way.");
}

static enum ftp_ask site_help(struct ftp_engine *en)
{
    ftp_reply_first(en, 214, "SITE commands:");
    ftp_reply_line(en, "CHMOD mode file (accepted, changes nothing)");
    ftp_reply_line(en, "HELP");
    ftp_reply_line(en, "UTIME YYYYMMDDHHMMSS file");
    return ftp_reply(en, 214, "End.");
}

static enum ftp_ask run_help(struct ftp_engine *en, struct argument a)
{
    if (is(a, "SITE"))
        return site_help(en);
    if (a.len > 0) {
        const struct verb *verb = ftp_verb_find(a.text, a.len);
        return verb ? ftp_reply(en, 214, "Say %s %s", verb->name, verb->syntax)
                    : ftp_reply(en, 501, "There is no such command.");
    }
    ftp_reply_first(en, 214, "Commands:");
    for (size_t i = 0; i < ftp_verbs_count; i++)
        ftp_reply_line(en, "%s %s", ftp_verbs[i].name, ftp_verbs[i].syntax);
    return ftp_reply(en, 214, "End.");
}

static enum ftp_ask run_site(struct ftp_engine *en, struct argument a)
{
    struct argument name = first_word(&a);
    if (is(name, "HELP"))
        return site_help(en);
    if (is(name, "UTIME"))
        return ftp_run_utime(en, a);
    if (!is(name, "CHMOD"))
        return ftp_reply(en, 504, "There are SITE HELP, CHMOD and UTIME only.");
    (void)first_word(&a); /* the mode */
    if (a.len == 0)
        return ftp_reply(en, 501, "Say SITE CHMOD mode file.");
    return ftp_reply(en, 200, "Accepted; permissions are the server's matter.");
}

static enum ftp_ask run_syst(struct ftp_engine *en, struct argument a UNUSED)
{
    return ftp_reply(en, 215, "UNIX Type: L8");
}

static enum ftp_ask run_noop(struct ftp_engine *en, struct argument a UNUSED)
{
    return ftp_reply(en, 200, "Yes.");
}

static enum ftp_ask run_clnt(struct ftp_engine *en, struct argument a UNUSED)
{
    return ftp_reply(en, 200, "Noted.");
}

static enum ftp_ask run_smnt(struct ftp_engine *en, struct argument a UNUSED)
{
    return ftp_reply(en, 502, "Not implemented.");
}
