/* Every verb in every state: what a stranger hears, what the rights refuse, which arguments are
 * wrong, and what each result of the disk becomes. */

#include "engine_script.h"

#include "ftp/ftp_engine_internal.h"

struct verb_case {
    const char *line;
    const char *stranger; /* before the login: "?ask" or a reply */
    const char *member;   /* an account with every right, a passive port listening */
};

#define NO_LOGIN "530 Log in first: USER, then PASS."

static const struct verb_case cases[] = {
    /* Access. */
    {"USER cam", "331 Password?", "331 Password?"},
    {"user cam", "331 Password?", "331 Password?"},
    {" USER cam", "331 Password?", "331 Password?"},
    {"USER", "501 Say USER name.", "501 Say USER name."},
    {"USER a\x01"
     "b",
     "501 That is no user name.", "501 That is no user name."},
    {"PASS secret", "503 Say USER first.", "503 Already logged in."},
    {"PASS", "503 Say USER first.", "503 Already logged in."},
    {"ACCT house", "202 No account is needed beside the user.",
     "202 No account is needed beside the user."},
    {"REIN", "220 Ready for a new login.", "220 Ready for a new login."},
    {"QUIT", "?close 221 Goodbye.", "?close 221 Goodbye."},
    {"quit ", "?close 221 Goodbye.", "?close 221 Goodbye."},
    /* TLS where there is none. */
    {"AUTH TLS", "502 TLS is not set up on this server.", "502 TLS is not set up on this server."},
    {"AUTH", "501 Say AUTH TLS.", "501 Say AUTH TLS."},
    {"AUTH KERBEROS_V4", "504 Say AUTH TLS.", "504 Say AUTH TLS."},
    {"PBSZ 0", "503 Say AUTH TLS first.", "503 Say AUTH TLS first."},
    {"PROT P", "503 Say AUTH TLS first.", "503 Say AUTH TLS first."},
    {"CCC", "533 This connection is in clear.", "533 This connection is in clear."},
    /* Parameters. */
    {"TYPE I", NO_LOGIN, "200 Type I."},
    {"TYPE i", NO_LOGIN, "200 Type I."},
    {"TYPE A", NO_LOGIN, "200 Type A; bytes are kept as they are."},
    {"TYPE A N", NO_LOGIN, "200 Type A; bytes are kept as they are."},
    {"TYPE A T", NO_LOGIN, "504 Say TYPE I."},
    {"TYPE E", NO_LOGIN, "504 Say TYPE I."},
    {"TYPE L 8", NO_LOGIN, "200 Type I."},
    {"TYPE L8", NO_LOGIN, "200 Type I."},
    {"TYPE L 36", NO_LOGIN, "504 Say TYPE I."},
    {"TYPE", NO_LOGIN, "501 Say TYPE I | A."},
    {"MODE S", NO_LOGIN, "200 Mode S."},
    {"MODE B", NO_LOGIN, "504 There is MODE S (stream) only."},
    {"MODE C", NO_LOGIN, "504 There is MODE S (stream) only."},
    {"MODE", NO_LOGIN, "501 Say MODE S."},
    {"STRU F", NO_LOGIN, "200 Structure F."},
    {"STRU R", NO_LOGIN, "504 There is STRU F (file) only."},
    {"STRU P", NO_LOGIN, "504 There is STRU F (file) only."},
    {"STRU", NO_LOGIN, "501 Say STRU F."},
    /* Data connections. */
    {"PASV", NO_LOGIN, "?listen"},
    {"EPSV", NO_LOGIN, "?listen extended"},
    {"EPSV 1", NO_LOGIN, "?listen extended"},
    {"EPSV 2", NO_LOGIN, "522 Network protocol not supported, use (1)."},
    {"EPSV x", NO_LOGIN, "522 Network protocol not supported, use (1)."},
    {"EPSV ALL", NO_LOGIN, "200 Only EPSV from now on."},
    {"EPSV all", NO_LOGIN, "200 Only EPSV from now on."},
    {"PORT 10,0,0,7,19,137", NO_LOGIN, "200 PORT command successful."},
    {"PORT 10,0,0,7,4,0", NO_LOGIN, "200 PORT command successful."},
    {"PORT 0,0,0,0,19,137", NO_LOGIN, "200 PORT command successful."},
    {"PORT 0,0,0,0,0,25", NO_LOGIN, "504 Ports below 1024 are refused."},
    {"PORT 0,0,0,1,19,137", NO_LOGIN,
     "501 Data goes to your own address only; passive mode avoids this."},
    {"PORT 10,0,0,7,3,255", NO_LOGIN, "504 Ports below 1024 are refused."},
    {"PORT 10,0,0,7,0,0", NO_LOGIN, "504 Ports below 1024 are refused."},
    {"PORT 10,0,0,8,19,137", NO_LOGIN,
     "501 Data goes to your own address only; passive mode avoids this."},
    {"PORT 127,0,0,1,19,137", NO_LOGIN,
     "501 Data goes to your own address only; passive mode avoids this."},
    {"PORT 10,0,0,7,19", NO_LOGIN, "501 Say PORT h1,h2,h3,h4,p1,p2."},
    {"PORT 10,0,0,7,19,137,1", NO_LOGIN, "501 Say PORT h1,h2,h3,h4,p1,p2."},
    {"PORT 10,0,0,7,19,256", NO_LOGIN, "501 Say PORT h1,h2,h3,h4,p1,p2."},
    {"PORT 10,0,0,7,19,-1", NO_LOGIN, "501 Say PORT h1,h2,h3,h4,p1,p2."},
    {"PORT 10,0,0,7,,1", NO_LOGIN, "501 Say PORT h1,h2,h3,h4,p1,p2."},
    {"PORT ,,,,,", NO_LOGIN, "501 Say PORT h1,h2,h3,h4,p1,p2."},
    {"PORT x", NO_LOGIN, "501 Say PORT h1,h2,h3,h4,p1,p2."},
    {"PORT", NO_LOGIN, "501 Say PORT h1,h2,h3,h4,p1,p2."},
    {"EPRT |1|10.0.0.7|5001|", NO_LOGIN, "200 EPRT command successful."},
    {"EPRT #1#10.0.0.7#5001#", NO_LOGIN, "200 EPRT command successful."},
    {"EPRT |1|10.0.0.7|1024|", NO_LOGIN, "200 EPRT command successful."},
    {"EPRT |1|10.0.0.7|65535|", NO_LOGIN, "200 EPRT command successful."},
    {"EPRT |1|10.0.0.7|1023|", NO_LOGIN, "504 Ports below 1024 are refused."},
    {"EPRT |1|10.0.0.7|0|", NO_LOGIN, "501 Say EPRT |1|address|port|."},
    {"EPRT |1|10.0.0.7|65536|", NO_LOGIN, "501 Say EPRT |1|address|port|."},
    {"EPRT |1|10.0.0.8|5001|", NO_LOGIN,
     "501 Data goes to your own address only; passive mode avoids this."},
    {"EPRT |2|fd00::7|5001|", NO_LOGIN, "522 Network protocol not supported, use (1)."},
    {"EPRT |3|10.0.0.7|5001|", NO_LOGIN, "522 Network protocol not supported, use (1)."},
    {"EPRT |1|fd00::7|5001|", NO_LOGIN, "501 That is no address."},
    {"EPRT |1|host|5001|", NO_LOGIN, "501 That is no address."},
    {"EPRT |1||5001|", NO_LOGIN, "501 That is no address."},
    {"EPRT |1|0123456789012345678901234567890123456789012345678901234567890123456789|5001|",
     NO_LOGIN, "501 That is no address."},
    {"EPRT |1|10.0.0.7|5001", NO_LOGIN, "501 Say EPRT |1|address|port|."},
    {"EPRT |1|10.0.0.7|5001|x", NO_LOGIN, "501 Say EPRT |1|address|port|."},
    {"EPRT |", NO_LOGIN, "501 Say EPRT |1|address|port|."},
    {"EPRT", NO_LOGIN, "501 Say EPRT |1|address|port|."},
    /* Folders. */
    {"CWD x", NO_LOGIN, "?file enter /house/x"},
    {"CWD /x/y", NO_LOGIN, "?file enter /x/y"},
    {"CWD ..", NO_LOGIN, "?file enter /"},
    {"CWD", NO_LOGIN, "?file enter /"},
    {"CWD //x\\y/ ", NO_LOGIN, "?file enter /x/y"},
    {"CWD a\x01", NO_LOGIN,
     "550 Name not allowed: it has control bytes or is one that nobody looks at, as "
     "\".incoming-\"."},
    {"XCWD x", NO_LOGIN, "?file enter /house/x"},
    {"CDUP", NO_LOGIN, "250 In \"/\"."},
    {"XCUP", NO_LOGIN, "250 In \"/\"."},
    {"PWD", NO_LOGIN, "257 \"/house\""},
    {"XPWD", NO_LOGIN, "257 \"/house\""},
    {"MKD x", NO_LOGIN, "?file make /house/x"},
    {"MKD a/b/c", NO_LOGIN, "?file make /house/a/b/c"},
    {"MKD", NO_LOGIN, "501 Say MKD folder."},
    {"MKD .incoming-x", NO_LOGIN,
     "550 Name not allowed: it has control bytes or is one that nobody looks at, as "
     "\".incoming-\"."},
    {"XMKD x", NO_LOGIN, "?file make /house/x"},
    {"RMD x", NO_LOGIN, "?file remove-folder /house/x"},
    {"RMD /", NO_LOGIN, "550 \"/\" stays."},
    {"RMD ..", NO_LOGIN, "550 \"/\" stays."},
    {"RMD", NO_LOGIN, "501 Say RMD folder."},
    {"XRMD x", NO_LOGIN, "?file remove-folder /house/x"},
    /* Files. */
    {"DELE a.jpg", NO_LOGIN, "?file delete /house/a.jpg"},
    {"DELE /", NO_LOGIN, "550 \"/\" stays."},
    {"DELE", NO_LOGIN, "501 Say DELE file."},
    {"RNFR a.jpg", NO_LOGIN, "?file stat /house/a.jpg"},
    {"RNFR /", NO_LOGIN, "550 \"/\" stays."},
    {"RNFR", NO_LOGIN, "501 Say RNFR file."},
    {"RNTO b.jpg", NO_LOGIN, "503 Say RNFR first."},
    {"RNTO", NO_LOGIN, "501 Say RNTO new name."},
    {"SIZE a.jpg", NO_LOGIN, "?file stat /house/a.jpg"},
    {"SIZE", NO_LOGIN, "501 Say SIZE file."},
    {"MDTM a.jpg", NO_LOGIN, "?file stat /house/a.jpg"},
    {"MDTM 20260102030405 a.jpg", NO_LOGIN, "?file modified /house/a.jpg 20260102030405"},
    {"MDTM 20260102030405.123  a b.jpg", NO_LOGIN, "?file modified /house/a b.jpg 20260102030405"},
    {"MDTM 20261302030405 a.jpg", NO_LOGIN, "?file stat /house/20261302030405 a.jpg"},
    {"MDTM 20260102030405", NO_LOGIN, "?file stat /house/20260102030405"},
    {"MDTM", NO_LOGIN, "501 Say MDTM [YYYYMMDDHHMMSS] file."},
    {"MFMT 20260102030405 a.jpg", NO_LOGIN, "?file modified /house/a.jpg 20260102030405"},
    {"MFMT 20260102 a.jpg", NO_LOGIN, "501 Say MFMT YYYYMMDDHHMMSS file."},
    {"MFMT 20260102030405", NO_LOGIN, "501 Say MFMT YYYYMMDDHHMMSS file."},
    {"MFMT", NO_LOGIN, "501 Say MFMT YYYYMMDDHHMMSS file."},
    {"MLST a.jpg", NO_LOGIN, "?file stat /house/a.jpg"},
    {"MLST", NO_LOGIN, "?file stat /house"},
    {"STAT x", NO_LOGIN, "?file list-inline /house/x"},
    {"STAT -la x", NO_LOGIN, "?file list-inline /house/x"},
    {"STAT -l", NO_LOGIN, "?file list-inline /house"},
    /* Transfers. */
    {"STOR a.jpg", NO_LOGIN, "?transfer store /house/a.jpg overwrite"},
    {"STOR  a.jpg ", NO_LOGIN, "?transfer store /house/a.jpg overwrite"},
    {"STOR //cam\\b.jpg", NO_LOGIN, "?transfer store /cam/b.jpg overwrite"},
    {"STOR ../../../etc/passwd", NO_LOGIN, "?transfer store /etc/passwd overwrite"},
    {"STOR /", NO_LOGIN, "553 \"/\" is a folder."},
    {"STOR .incoming-x", NO_LOGIN,
     "553 Name not allowed: it has control bytes or is one that nobody looks at, as "
     "\".incoming-\"."},
    {"STOR a\nb", NO_LOGIN,
     "553 Name not allowed: it has control bytes or is one that nobody looks at, as "
     "\".incoming-\"."},
    {"STOR", NO_LOGIN, "501 Say STOR file."},
    {"APPE a.jpg", NO_LOGIN, "?transfer append /house/a.jpg at -1 overwrite"},
    {"APPE", NO_LOGIN, "501 Say APPE file."},
    {"STOU", NO_LOGIN, "?transfer store /house/picture.jpg unique"},
    {"STOU x.png", NO_LOGIN, "?transfer store /house/x.png unique"},
    {"RETR a.jpg", NO_LOGIN, "?transfer retrieve /house/a.jpg"},
    {"RETR", NO_LOGIN, "501 Say RETR file."},
    {"LIST", NO_LOGIN, "?transfer list /house long"},
    {"LIST x", NO_LOGIN, "?transfer list /house/x long"},
    {"LIST -la", NO_LOGIN, "?transfer list /house long"},
    {"LIST -a  -l x y", NO_LOGIN, "?transfer list /house/x y long"},
    {"LIST a\x01", NO_LOGIN,
     "550 Name not allowed: it has control bytes or is one that nobody looks at, as "
     "\".incoming-\"."},
    {"NLST", NO_LOGIN, "?transfer list /house names"},
    {"NLST -1 x", NO_LOGIN, "?transfer list /house/x names"},
    {"MLSD", NO_LOGIN, "?transfer list /house facts"},
    {"MLSD /x", NO_LOGIN, "?transfer list /x facts"},
    {"REST 100", NO_LOGIN, "350 The next transfer begins at 100."},
    {"REST 0", NO_LOGIN, "350 The next transfer begins at 0."},
    {"REST 9223372036854775807", NO_LOGIN, "350 The next transfer begins at 9223372036854775807."},
    {"REST 9223372036854775808", NO_LOGIN, "501 Say REST offset."},
    {"REST -1", NO_LOGIN, "501 Say REST offset."},
    {"REST x", NO_LOGIN, "501 Say REST offset."},
    {"REST", NO_LOGIN, "501 Say REST offset."},
    {"ALLO 100", NO_LOGIN, "202 Noted; room is made while the file comes."},
    {"ALLO 100 R 10", NO_LOGIN, "202 Noted; room is made while the file comes."},
    {"ALLO 100 r 10", NO_LOGIN, "202 Noted; room is made while the file comes."},
    {"ALLO 100 R", NO_LOGIN, "501 Say ALLO bytes."},
    {"ALLO 100 R ", NO_LOGIN, "501 Say ALLO bytes."},
    {"ALLO 100 R x", NO_LOGIN, "501 Say ALLO bytes."},
    {"ALLO 100 10", NO_LOGIN, "501 Say ALLO bytes."},
    {"ALLO -1", NO_LOGIN, "501 Say ALLO bytes."},
    {"ALLO", NO_LOGIN, "501 Say ALLO bytes."},
    {"ABOR", "226 Nothing was under way.", "226 Nothing was under way."},
    /* The rest. */
    {"OPTS UTF8 ON", "200 Names are in UTF-8.", "200 Names are in UTF-8."},
    {"OPTS utf8 on", "200 Names are in UTF-8.", "200 Names are in UTF-8."},
    {"OPTS UTF-8 NLST", "200 Names are in UTF-8.", "200 Names are in UTF-8."},
    {"OPTS UTF8", "200 Names are in UTF-8.", "200 Names are in UTF-8."},
    {"OPTS UTF8 OFF", "504 Names are in UTF-8, always.", "504 Names are in UTF-8, always."},
    {"OPTS MLST size;modify;UNIX.mode;", "200 MLST OPTS size;modify;",
     "200 MLST OPTS size;modify;"},
    {"OPTS MLST Type;Size", "200 MLST OPTS type;size;", "200 MLST OPTS type;size;"},
    {"OPTS MLST", "200 MLST OPTS", "200 MLST OPTS"},
    {"OPTS MLST ;;;x", "200 MLST OPTS", "200 MLST OPTS"},
    {"OPTS MODE Z", "501 There are OPTS UTF8 and OPTS MLST only.",
     "501 There are OPTS UTF8 and OPTS MLST only."},
    {"OPTS", "501 Say OPTS UTF8 ON | MLST facts.", "501 Say OPTS UTF8 ON | MLST facts."},
    {"SYST", "215 UNIX Type: L8", "215 UNIX Type: L8"},
    {"NOOP", "200 Yes.", "200 Yes."},
    {"noop  ", "200 Yes.", "200 Yes."},
    {"CLNT NcFTPPut", "200 Noted.", "200 Noted."},
    {"CLNT", "200 Noted.", "200 Noted."},
    {"SITE CHMOD 644 a.jpg", NO_LOGIN, "200 Accepted; permissions are the server's matter."},
    {"SITE chmod 644 a b.jpg", NO_LOGIN, "200 Accepted; permissions are the server's matter."},
    {"SITE CHMOD 644", NO_LOGIN, "501 Say SITE CHMOD mode file."},
    {"SITE CHMOD", NO_LOGIN, "501 Say SITE CHMOD mode file."},
    {"SITE UTIME 20260102030405 a b.jpg", NO_LOGIN, "?file modified /house/a b.jpg 20260102030405"},
    {"SITE UTIME 202601020304 a.jpg", NO_LOGIN, "?file modified /house/a.jpg 20260102030400"},
    {"SITE UTIME a b.jpg 20250101000000 20260102030405 20250101000000 UTC", NO_LOGIN,
     "?file modified /house/a b.jpg 20260102030405"},
    {"SITE UTIME 202601022504 a.jpg", NO_LOGIN, "501 Say SITE UTIME YYYYMMDDHHMMSS file."},
    {"SITE UTIME a.jpg", NO_LOGIN, "501 Say SITE UTIME YYYYMMDDHHMMSS file."},
    {"SITE UTIME", NO_LOGIN, "501 Say SITE UTIME YYYYMMDDHHMMSS file."},
    {"SITE EXEC ls", NO_LOGIN, "504 There are SITE HELP, CHMOD and UTIME only."},
    {"SITE", NO_LOGIN, "501 Say SITE HELP | CHMOD mode file | UTIME time file."},
    {"HELP STOR", "214 Say STOR file", "214 Say STOR file"},
    {"HELP stor", "214 Say STOR file", "214 Say STOR file"},
    {"HELP XYZ", "501 There is no such command.", "501 There is no such command."},
    {"SMNT x", "502 Not implemented; HELP shows what is.",
     "502 Not implemented; HELP shows what is."},
    {"HOST nas", "502 Not implemented; HELP shows what is.",
     "502 Not implemented; HELP shows what is."},
    {"lang en", "502 Not implemented; HELP shows what is.",
     "502 Not implemented; HELP shows what is."},
    /* What is none. */
    {"XYZ", "500 Unknown command; HELP shows the known ones.",
     "500 Unknown command; HELP shows the known ones."},
    {"STORE a", "500 Unknown command; HELP shows the known ones.",
     "500 Unknown command; HELP shows the known ones."},
    {"ST a", "500 Unknown command; HELP shows the known ones.",
     "500 Unknown command; HELP shows the known ones."},
    {"EHLO x", "500 Unknown command; HELP shows the known ones.",
     "500 Unknown command; HELP shows the known ones."},
    {"\x16\x03\x01", "500 Unknown command; HELP shows the known ones.",
     "500 Unknown command; HELP shows the known ones."},
    {"STOR\ta", "500 Unknown command; HELP shows the known ones.",
     "500 Unknown command; HELP shows the known ones."},
    {"", "", ""},
    {"   ", "", ""},
    /* A browser (ALPACA). */
    {"GET / HTTP/1.1", "?close 421 This is FTP, not HTTP.", "?close 421 This is FTP, not HTTP."},
    {"POST /STOR HTTP/1.1", "?close 421 This is FTP, not HTTP.",
     "?close 421 This is FTP, not HTTP."},
    {"HEAD / HTTP/1.0", "?close 421 This is FTP, not HTTP.", "?close 421 This is FTP, not HTTP."},
    {"PUT /x HTTP/1.1", "?close 421 This is FTP, not HTTP.", "?close 421 This is FTP, not HTTP."},
    {"DELETE /x HTTP/1.1", "?close 421 This is FTP, not HTTP.",
     "?close 421 This is FTP, not HTTP."},
    {"CONNECT a:443 HTTP/1.1", "?close 421 This is FTP, not HTTP.",
     "?close 421 This is FTP, not HTTP."},
    {"OPTIONS * HTTP/1.1", "?close 421 This is FTP, not HTTP.",
     "?close 421 This is FTP, not HTTP."},
    {"PATCH / HTTP/1.1", "?close 421 This is FTP, not HTTP.", "?close 421 This is FTP, not HTTP."},
    {"TRACE / HTTP/1.1", "?close 421 This is FTP, not HTTP.", "?close 421 This is FTP, not HTTP."},
    {"PRI * HTTP/2.0", "?close 421 This is FTP, not HTTP.", "?close 421 This is FTP, not HTTP."},
    {"get /", "?close 421 This is FTP, not HTTP.", "?close 421 This is FTP, not HTTP."},
    {"Host: nas", "?close 421 This is FTP, not HTTP.", "?close 421 This is FTP, not HTTP."},
    {"host:nas", "?close 421 This is FTP, not HTTP.", "?close 421 This is FTP, not HTTP."},
};

/* "?ask", a reply, or "?ask reply" with ask of one word. */
static void run_case(const char *state, const char *before, const struct verb_case *c,
                     const char *wanted)
{
    struct script s = {.name = state};
    script_go_on(&s, before);
    enum ftp_ask ask = ftp_engine_line(s.en, c->line, strlen(c->line));
    char described[4096] = "", got[8192];
    if (ask != FTP_ASK_NOTHING)
        script_describe(s.en, ask, described, sizeof(described));
    const char *replies = dynbuf_str(ftp_engine_replies(s.en));
    size_t len = strlen(replies);
    if (len > 0 && (len < 2 || strcmp(replies + len - 2, "\r\n") != 0))
        CASE_FAILS("%s: \"%s\": no line end", state, c->line);
    (void)snprintf(got, sizeof(got), "%s%s%s%.*s", described[0] ? "?" : "", described,
                   described[0] && len ? " " : "", len ? (int)len - 2 : 0, replies);
    if (strcmp(got, wanted) != 0)
        CASE_FAILS("%s: \"%s\": got \"%s\", wanted \"%s\"", state, c->line, got, wanted);
    ftp_engine_free(s.en);
}

static const char member[] = SCRIPT_LOGIN("all") "> CWD house\n? file enter /house\nfile folder\n"
                                                 "< 250 In \"/house\".\n" SCRIPT_PASV;

static void answers_strangers(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        run_case("stranger", "greet\n< 220 House FTP.\n", &cases[i], cases[i].stranger);
}

static void answers_members(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        run_case("member", member, &cases[i], cases[i].member);
}

static void has_a_case_for_each_verb(void **state UNUSED)
{
    for (size_t v = 0; v < ftp_verbs_count; v++) {
        bool found = strcmp(ftp_verbs[v].name, "FEAT") == 0; /* several lines: below */
        for (size_t i = 0; i < ARRAY_LEN(cases); i++)
            found |= strncmp(cases[i].line, ftp_verbs[v].name, strlen(ftp_verbs[v].name)) == 0;
        if (!found)
            CASE_FAILS("%s", ftp_verbs[v].name);
        assert_ptr_equal(ftp_verb_find(ftp_verbs[v].name, strlen(ftp_verbs[v].name)),
                         &ftp_verbs[v]);
        assert_non_null(ftp_verbs[v].syntax);
    }
}

static void wants_a_data_connection_for_each_transfer(void **state UNUSED)
{
    static const char *const lines[] = {"STOR a", "APPE a", "STOU", "RETR a",
                                        "LIST",   "NLST",   "MLSD"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct verb_case c = {.line = lines[i]};
        run_case("no data connection", SCRIPT_LOGIN("all"), &c,
                 "425 Say PASV, EPSV, PORT or EPRT first.");
        run_case("data connection in clear",
                 "options tls required\n> AUTH TLS\n? tls\n"
                 "< 234 Begin the TLS handshake.\nsecured\n" SCRIPT_LOGIN("all") SCRIPT_PASV,
                 &c, "522 Data connections must be protected here: PBSZ 0, PROT P.");
    }
}

struct right_case {
    const char *line;
    const char *none,
        *cam; /* what an account without rights hears, and one with the default ones */
};

static const struct right_case right_cases[] = {
    {"STOR a", "550 This account may not store files (right \"store\").",
     "?transfer store /a overwrite"},
    {"APPE a", "550 This account may not store files (right \"store\").",
     "?transfer append /a at -1 overwrite"},
    {"STOU", "550 This account may not store files (right \"store\").",
     "?transfer store /picture.jpg unique"},
    {"MKD a", "550 This account may not make folders (right \"store\").", "?file make /a"},
    {"RNFR a", "550 This account may not rename (right \"store\").",
     "550 This account may not rename what it has not just stored (right \"delete\")."},
    {"DELE a",
     "550 This account may not delete files that it has not just stored (right \"delete\").",
     "550 This account may not delete files that it has not just stored (right \"delete\")."},
    {"RMD a",
     "550 This account may not remove folders that it has not just made (right \"delete\").",
     "550 This account may not remove folders that it has not just made (right \"delete\")."},
    {"RETR a", "550 This account may not read files (right \"read\").",
     "550 This account may not read files (right \"read\")."},
    {"SIZE a",
     "550 This account may not look at files that it has not just stored (right \"list\").",
     "550 This account may not look at files that it has not just stored (right \"list\")."},
    {"MDTM a",
     "550 This account may not look at files that it has not just stored (right \"list\").",
     "550 This account may not look at files that it has not just stored (right \"list\")."},
    {"MLST a",
     "550 This account may not look at files that it has not just stored (right \"list\").",
     "550 This account may not look at files that it has not just stored (right \"list\")."},
    {"MFMT 20260102030405 a", "550 This account may not change files (right \"store\").",
     "?file modified /a 20260102030405"},
    {"MDTM 20260102030405 a", "550 This account may not change files (right \"store\").",
     "?file modified /a 20260102030405"},
    {"LIST", "?transfer list / long empty", "?transfer list / long empty"},
    {"NLST x", "?transfer list /x names empty", "?transfer list /x names empty"},
    {"MLSD", "?transfer list / facts empty", "?transfer list / facts empty"},
    {"CWD a", "?file enter /a", "?file enter /a"},
    {"STAT x", "213-\"/x\":\r\n213 End.", "213-\"/x\":\r\n213 End."},
};

static void keeps_each_account_within_its_rights(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(right_cases); i++) {
        struct verb_case c = {.line = right_cases[i].line};
        run_case("no rights", SCRIPT_LOGIN("none") SCRIPT_PASV, &c, right_cases[i].none);
        run_case("default rights", SCRIPT_LOGIN("cam") SCRIPT_PASV, &c, right_cases[i].cam);
    }
    static const struct verb_case single[] = {
        {"STOR a", NULL, "?transfer store /a"},
        {"APPE a", NULL, "?transfer append /a at -1"},
        {"MFMT 20260102030405 a", NULL,
         "550 This account may not change files that it has not just stored (right "
         "\"overwrite\")."},
    };
    for (size_t i = 0; i < ARRAY_LEN(single); i++)
        run_case("store only", SCRIPT_LOGIN("store") SCRIPT_PASV, &single[i], single[i].member);
    run_case("list only", SCRIPT_LOGIN("list"), &(struct verb_case){.line = "SIZE a"},
             "?file stat /a");
    run_case("read only", SCRIPT_LOGIN("read"), &(struct verb_case){.line = "SIZE a"},
             "?file stat /a");
    run_case("read only", SCRIPT_LOGIN("read") SCRIPT_PASV, &(struct verb_case){.line = "LIST"},
             "?transfer list / long empty");
}

struct result_case {
    const char *line, *result, *reply;
};

/* What the disk says, and what the client hears. */
static const struct result_case result_cases[] = {
    {"CWD a", "file folder", "250 In \"/house/a\"."},
    {"CWD a", "file ENOENT", "550 \"/house/a\": no such file or folder."},
    {"CWD a", "file ENOTDIR", "550 \"/house/a\": a part of this path is a file, not a folder."},
    {"CWD a", "file EACCES", "550 \"/house/a\": links and devices are not served."},
    {"CWD a", "file EIO", "451 \"/house/a\": the server could not do it, its log says why."},
    {"MKD a\"b", "file ok", "257 \"/house/a\"\"b\""},
    {"MKD a", "file EEXIST", "550 \"/house/a\": File exists."},
    {"MKD a", "file EMLINK",
     "552 \"/house/a\": too many files or folders here, nothing was stored."},
    {"MKD a", "file ENOSPC", "452 \"/house/a\": the disk is full, nothing was stored."},
    {"MKD a", "file ENAMETOOLONG", "553 \"/house/a\": the name is too long."},
    {"RMD a", "file ok", "250 Folder removed."},
    {"RMD a", "file ENOENT", "550 \"/house/a\": no such file or folder."},
    {"RMD a", "file ENOTEMPTY", "550 \"/house/a\": the folder is not empty."},
    {"DELE a", "file ok", "250 Deleted."},
    {"DELE a", "file ENOENT", "550 \"/house/a\": no such file or folder."},
    {"DELE a", "file EISDIR", "550 \"/house/a\": this is a folder, not a file."},
    {"RNFR a", "file ok", "350 Now RNTO."},
    {"RNFR a", "file ENOENT", "550 \"/house/a\": no such file or folder."},
    {"SIZE a", "file ok 4711", "213 4711"},
    {"SIZE a", "file folder", "550 \"/house/a\": this is a folder, not a file."},
    {"SIZE a", "file ENOENT", "550 \"/house/a\": no such file or folder."},
    {"MDTM a", "file ok 1 20250102030405", "213 20250102030405"},
    {"MDTM a", "file ENOENT", "550 \"/house/a\": no such file or folder."},
    {"MDTM 20250102030405 a", "file ok", "213 Modify=20250102030405; /house/a"},
    {"MFMT 20250102030405 a", "file ok", "213 Modify=20250102030405; /house/a"},
    {"MFMT 20250102030405.9 a", "file ok", "213 Modify=20250102030405; /house/a"},
    {"MFMT 20250102030405 a", "file ENOENT", "550 \"/house/a\": no such file or folder."},
    {"SITE UTIME 20250102030405 a", "file ok", "200 Time set."},
    {"MLST a", "file ENOENT", "550 \"/house/a\": no such file or folder."},
    {"STAT a", "file ENOENT", "550 \"/house/a\": no such file or folder."},
    {"STAT a", "file E2BIG", "450 \"/house/a\": the folder has too many entries for a list."},
    {"STOR a", "opened ok", "150 Ready for \"/house/a\"."},
    {"STOR a", "opened connected", "125 Ready for \"/house/a\"."},
    {"STOR a", "opened EEXIST", "550 \"/house/a\": File exists."},
    {"STOR a", "opened EISDIR", "550 \"/house/a\": this is a folder, not a file."},
    {"STOR a", "opened ENOTDIR", "550 \"/house/a\": a part of this path is a file, not a folder."},
    {"STOR a", "opened EACCES", "550 \"/house/a\": links and devices are not served."},
    {"STOR a", "opened ENOSPC", "452 \"/house/a\": the disk is full, nothing was stored."},
    {"STOR a", "opened EDQUOT",
     "552 \"/house/a\": the account's quota is used up, nothing was stored."},
    {"STOR a", "opened EFBIG",
     "552 \"/house/a\": the file is larger than the account may store, nothing was stored."},
    {"STOR a", "opened EMLINK",
     "552 \"/house/a\": too many files or folders here, nothing was stored."},
    {"STOR a", "opened ENAMETOOLONG", "553 \"/house/a\": the name is too long."},
    {"STOR a", "opened EMFILE", "450 \"/house/a\": busy, try again."},
    {"STOR a", "opened EIO", "451 \"/house/a\": the server could not do it, its log says why."},
    {"STOR a", "end no-connection",
     "425 No data connection: nobody connected to the passive port, is a firewall in between?"},
    {"STOU", "opened ok picture-2.jpg", "150 FILE: picture-2.jpg"},
    {"STOU", "opened connected picture-2.jpg", "125 FILE: picture-2.jpg"},
    {"APPE a", "opened EINVAL",
     "554 \"/house/a\": the restart position lies behind the end of the file."},
    {"RETR a", "opened ok", "150 Here comes \"/house/a\" (42 bytes)."},
    {"RETR a", "opened ENOENT", "550 \"/house/a\": no such file or folder."},
    {"LIST", "opened ok", "150 Here comes the list."},
    {"LIST", "opened connected", "125 Here comes the list."},
    {"LIST", "opened ENOENT", "550 \"/house\": no such file or folder."},
    {"LIST", "opened E2BIG", "450 \"/house\": the folder has too many entries for a list."},
    {"PASV", "listen 65535", "227 Entering Passive Mode (192,168,1,2,255,255)."},
    {"PASV", "listen EADDRINUSE", "425 No port is free for a data connection; try again."},
    {"EPSV", "listen 1024", "229 Entering Extended Passive Mode (|||1024|)."},
    {"EPSV", "listen EMFILE", "425 No port is free for a data connection; try again."},
};

static void tells_each_result(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(result_cases); i++) {
        struct script s = {.name = result_cases[i].line};
        script_go_on(&s, member);
        enum ftp_ask ask =
            ftp_engine_line(s.en, result_cases[i].line, strlen(result_cases[i].line));
        assert_int_not_equal(ask, FTP_ASK_NOTHING);
        char text[600];
        (void)snprintf(text, sizeof(text), "%s\n< %s\n", result_cases[i].result,
                       result_cases[i].reply);
        script_go_on(&s, text);
        ftp_engine_free(s.en);
    }
}

struct end_case {
    const char *line, *end, *reply;
};

static void tells_each_end_of_a_transfer(void **state UNUSED)
{
    static const struct end_case ends[] = {
        {"STOR a", "end done 4711", "226 Stored, 4711 bytes."},
        {"APPE a", "end done 4711", "226 Stored, 4711 bytes."},
        {"STOU a", "end done 0", "226 Stored, 0 bytes."},
        {"RETR a", "end done 4711", "226 Transfer complete."},
        {"LIST", "end done", "226 Transfer complete."},
        {"STOR a", "end cut", "426 Transfer cut, nothing was stored."},
        {"RETR a", "end cut", "426 Transfer cut."},
        {"STOR a", "end no-tls", "522 The TLS handshake of the data connection failed."},
        {"STOR a", "end incomplete",
         "451 The file came incomplete, nothing was stored: send it again."},
        {"STOR a", "end EBADMSG",
         "451 \"/house/a\": the picture does not end, nothing was stored: send it again."},
        {"STOR a", "end ENOSPC", "452 \"/house/a\": the disk is full, nothing was stored."},
        {"STOR a", "end EDQUOT",
         "552 \"/house/a\": the account's quota is used up, nothing was stored."},
        {"STOR a", "end EFBIG",
         "552 \"/house/a\": the file is larger than the account may store, nothing was stored."},
        {"STOR a", "end EIO", "451 \"/house/a\": the server could not do it, its log says why."},
    };
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct script s = {.name = ends[i].end};
        script_go_on(&s, member);
        assert_int_equal(ftp_engine_line(s.en, ends[i].line, strlen(ends[i].line)),
                         FTP_ASK_TRANSFER);
        (void)ftp_engine_opened(s.en, 0, false, NULL);
        dynbuf_reset(ftp_engine_replies(s.en));
        assert_int_equal(ftp_engine_data_mode(s.en), FTP_DATA_PASSIVE);
        char text[600];
        (void)snprintf(text, sizeof(text), "%s\n< %s\n", ends[i].end, ends[i].reply);
        script_go_on(&s, text);
        assert_int_equal(ftp_engine_data_mode(s.en), FTP_DATA_NONE);
        assert_null(ftp_engine_request(s.en));
        ftp_engine_free(s.en);
    }
}

static void offers_what_it_has(void **state UNUSED)
{
    script_run("in clear", "> FEAT\n< 211-Features:\n<  CLNT\n<  EPRT\n<  EPSV\n<  MDTM\n<  MFMT\n"
                           "<  MLST type*;size*;modify*;perm*;unique*;\n<  REST STREAM\n<  SIZE\n"
                           "<  TVFS\n<  UTF8\n< 211 End.\n");
    script_run("with TLS, passive only",
               "options tls passive-only\n"
               "> OPTS MLST size;modify;\n< 200 MLST OPTS size;modify;\n"
               "> FEAT\n< 211-Features:\n<  AUTH TLS\n<  CLNT\n<  EPSV\n<  MDTM\n<  MFMT\n"
               "<  MLST type;size*;modify*;perm;unique;\n<  PBSZ\n<  PROT\n<  REST STREAM\n"
               "<  SIZE\n<  TVFS\n<  UTF8\n< 211 End.\n");
}

static void helps(void **state UNUSED)
{
    script_run("HELP SITE", "> HELP SITE\n< 214-SITE commands:\n"
                            "<  CHMOD mode file (accepted, changes nothing)\n<  HELP\n"
                            "<  UTIME YYYYMMDDHHMMSS file\n< 214 End.\n");
    script_run("SITE HELP", SCRIPT_LOGIN("cam") "> SITE HELP\n< 214-SITE commands:\n"
                                                "<  CHMOD mode file (accepted, changes nothing)\n"
                                                "<  HELP\n<  UTIME YYYYMMDDHHMMSS file\n"
                                                "< 214 End.\n");
    struct script s = {.name = "HELP"};
    script_go_on(&s, "options\n");
    (void)ftp_engine_line(s.en, "HELP", 4);
    const char *text = dynbuf_str(ftp_engine_replies(s.en));
    assert_true(text_starts_with(text, "214-Commands:\r\n"));
    assert_true(text_ends_with(text, "\r\n214 End.\r\n"));
    for (size_t v = 0; v < ftp_verbs_count; v++) {
        char line[80];
        (void)snprintf(line, sizeof(line), "\r\n %s ", ftp_verbs[v].name);
        assert_non_null(strstr(text, line));
    }
    ftp_engine_free(s.en);
}

static void shows_facts_and_lists_on_the_control_connection(void **state UNUSED)
{
    script_run("MLST",
               SCRIPT_LOGIN("all") "> MLST a\n? file stat /a\nfile ok 4711 20250102030405\n"
                                   "< 250-Facts:\n"
                                   "<  type=file;size=4711;modify=20250102030405;perm=awrdf;"
                                   "unique=1g2; /a\n< 250 End.\n"
                                   "> OPTS MLST size;\n< 200 MLST OPTS size;\n"
                                   "> MLST a\n? file stat /a\nfile ok 4711\n"
                                   "< 250-Facts:\n<  size=4711; /a\n< 250 End.\n");
    script_run("STAT path", SCRIPT_LOGIN("all") "> STAT a\n? file list-inline /a\n"
                                                "lines -rw x|drwx y|\n"
                                                "< 213-\"/a\":\n< -rw x\n< drwx y\n< 213 End.\n");
    script_run("STAT", SCRIPT_LOGIN("cam") SCRIPT_PASV
               "> STAT\n< 211-Status:\n<  Logged in as cam, in \"/\"\n"
               "<  Type Image, structure File, mode Stream; data connection: passive\n"
               "<  Control connection in clear, data in clear\n< 211 End.\n");
}

static void refuses_a_list_that_is_too_long_for_replies(void **state UNUSED)
{
    struct script s = {.name = "long list"};
    script_go_on(&s, SCRIPT_LOGIN("all") "> STAT a\n? file list-inline /a\n");
    AUTO_FREE char *text = xmalloc(200 * 1024 + 1);
    memset(text, 'x', 200 * 1024);
    text[200 * 1024] = '\0';
    assert_int_equal(ftp_engine_file_done(s.en, 0, NULL, text), FTP_ASK_NOTHING);
    script_go_on(&s, "< 450 \"/a\": the folder has too many entries for a list.\n");
    ftp_engine_free(s.en);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_strangers),
        cmocka_unit_test(answers_members),
        cmocka_unit_test(has_a_case_for_each_verb),
        cmocka_unit_test(wants_a_data_connection_for_each_transfer),
        cmocka_unit_test(keeps_each_account_within_its_rights),
        cmocka_unit_test(tells_each_result),
        cmocka_unit_test(tells_each_end_of_a_transfer),
        cmocka_unit_test(offers_what_it_has),
        cmocka_unit_test(helps),
        cmocka_unit_test(shows_facts_and_lists_on_the_control_connection),
        cmocka_unit_test(refuses_a_list_that_is_too_long_for_replies),
    };
    return RUN_TESTS(tests);
}
