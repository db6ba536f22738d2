/* Whole sessions: what the clients that we know send, and what goes wrong in between. */

#include "engine_script.h"

#include <malloc.h>

#include "../sanitized.h"
#include "ftp/ftp_recent.h"

#define STORE(path)                                                                                \
    "opened ok\n< 150 Ready for \"" path "\".\n"                                                   \
    "end done 4711\n< 226 Stored, 4711 bytes.\n"
#define STOR(name, path) "> STOR " name "\n? transfer store " path " overwrite\n" STORE(path)
#define TYPE_I "> TYPE I\n< 200 Type I.\n"
#define QUIT "> QUIT\n? close\n< 221 Goodbye.\n"
#define ENTER(name, path)                                                                          \
    "> CWD " name "\n? file enter " path "\nfile folder\n< 250 In \"" path "\".\n"
#define GONE(name, path)                                                                           \
    "> CWD " name "\n? file enter " path "\nfile ENOENT\n< 550 \"" path                            \
    "\": no such file or folder.\n"
#define MAKE(name, path) "> MKD " name "\n? file make " path "\nfile ok\n< 257 \"" path "\"\n"

struct session {
    const char *name, *script;
};

static const struct session clients[] = {
    {"curl --ftp-create-dirs",
     "greet\n< 220 House FTP.\n" SCRIPT_LOGIN("cam") "> PWD\n< 257 \"/\"\n" GONE("snap", "/snap")
         MAKE("snap", "/snap") ENTER("snap", "/snap")
             SCRIPT_EPSV TYPE_I STOR("a.jpg", "/snap/a.jpg") QUIT},
    {"curl, active",
     SCRIPT_LOGIN("cam") "> PWD\n< 257 \"/\"\n"
                         "> EPRT |1|10.0.0.7|40001|\n< 200 EPRT command successful.\n" TYPE_I STOR(
                             "a.jpg", "/a.jpg") QUIT},
    {"curl, active where it is off",
     "options passive-only\n" SCRIPT_LOGIN(
         "cam") "> EPRT |1|10.0.0.7|40001|\n< 502 Active mode is switched off here, use passive "
                "mode.\n"
                "> PORT 10,0,0,7,156,65\n< 502 Active mode is switched off here, use passive "
                "mode.\n" SCRIPT_PASV},
    {"curl --append", SCRIPT_LOGIN("cam") SCRIPT_EPSV TYPE_I
     "> APPE a.jpg\n? transfer append /a.jpg at -1 overwrite\n" STORE("/a.jpg") QUIT},
    {"Python ftplib",
     SCRIPT_LOGIN("cam") TYPE_I SCRIPT_PASV STOR("/snap/a.jpg", "/snap/a.jpg") QUIT},
    {"Python ftplib, TLS",
     "options tls\n> AUTH TLS\n? tls\n< 234 Begin the TLS handshake.\nsecured\n" SCRIPT_LOGIN(
         "cam") "> PBSZ 0\n< 200 PBSZ=0\n> PROT P\n< 200 Data connections are protected.\n" TYPE_I
         SCRIPT_PASV STOR("a.jpg", "/a.jpg") QUIT},
    {"ncftpput -T tmp_",
     SCRIPT_LOGIN("cam") "> FEAT\n< 211-Features:\n<  CLNT\n<  EPRT\n<  EPSV\n<  MDTM\n<  MFMT\n"
                         "<  MLST type*;size*;modify*;perm*;unique*;\n<  REST STREAM\n<  SIZE\n<  "
                         "TVFS\n<  UTF8\n"
                         "< 211 End.\n"
                         "> HELP SITE\n< 214-SITE commands:\n<  CHMOD mode file (accepted, changes "
                         "nothing)\n"
                         "<  HELP\n<  UTIME YYYYMMDDHHMMSS file\n< 214 End.\n"
                         "> CLNT NcFTPPut 3.2.6 linux-x86_64-glibc2.36\n< 200 Noted.\n" ENTER(
                             "/", "/") TYPE_I
     "> OPTS MLST type;size;modify;UNIX.mode;perm;\n< 200 MLST OPTS type;size;modify;perm;\n"
     "> MLST a.jpg\n< 550 This account may not look at files that it has not just stored "
     "(right \"list\").\n"
     "> SIZE a.jpg\n< 550 This account may not look at files that it has not just stored "
     "(right \"list\").\n" SCRIPT_PASV STOR(
         "tmp_a.jpg",
         "/tmp_a.jpg") "> RNFR tmp_a.jpg\n? file stat /tmp_a.jpg\nfile ok 4711\n< 350 Now RNTO.\n"
                       "> RNTO a.jpg\n? file rename /tmp_a.jpg -> /a.jpg overwrite own\nfile ok\n"
                       "< 250 Renamed.\n"
                       "> MFMT 20250102030405 a.jpg\n? file modified /a.jpg 20250102030405\nfile "
                       "ENOENT\n"
                       "< 213 Modify=20250102030405; /a.jpg\n"
                       "> MDTM a.jpg\n? file stat /a.jpg\nfile ENOENT\n< 213 "
                       "20250102030405\n" QUIT},
    {"lftp",
     "greet\n< 220 House FTP.\n"
     "> FEAT\n< 211-Features:\n<  CLNT\n<  EPRT\n<  EPSV\n<  MDTM\n<  MFMT\n"
     "<  MLST type*;size*;modify*;perm*;unique*;\n<  REST STREAM\n<  SIZE\n<  TVFS\n<  UTF8\n"
     "< 211 End.\n"
     "> AUTH TLS\n< 502 TLS is not set up on this server.\n"
     "> OPTS UTF8 ON\n< 200 Names are in UTF-8.\n" SCRIPT_LOGIN(
         "cam") "> OPTS UTF8 ON\n< 200 Names are in UTF-8.\n"
                "> OPTS MLST type;size;modify;UNIX.mode;\n< 200 MLST OPTS type;size;modify;\n"
                "> PWD\n< 257 \"/\"\n" TYPE_I "> ALLO 4711\n"
                "< 202 Noted; room is made while the file comes.\n" SCRIPT_PASV
                "> STOR .in.a.jpg\n? transfer store /.in.a.jpg announced 4711 overwrite\n" STORE(
                    "/.in.a.jpg") "> MFMT 20250102030405 .in.a.jpg\n"
                                  "? file modified /.in.a.jpg 20250102030405\nfile ok\n"
                                  "< 213 Modify=20250102030405; /.in.a.jpg\n"
                                  "> RNFR .in.a.jpg\n? file stat /.in.a.jpg\nfile ok 4711 "
                                  "20250102030405\n< 350 Now RNTO.\n"
                                  "> RNTO a.jpg\n? file rename /.in.a.jpg -> /a.jpg "
                                  "overwrite own\nfile ok\n"
                                  "< 250 Renamed.\n" QUIT},
    {"a camera that keeps its session",
     SCRIPT_LOGIN("cam") "> SYST\n< 215 UNIX Type: L8\n" TYPE_I SCRIPT_PASV
         STOR("1.jpg", "/1.jpg") "> NOOP\n< 200 Yes.\n> PWD\n< 257 \"/\"\n" TYPE_I SCRIPT_PASV STOR(
             "2.jpg", "/2.jpg") "> NOOP\n< 200 Yes.\n"},
    {"a camera that logs in again for each picture",
     SCRIPT_LOGIN("cam") SCRIPT_PASV STOR("1.jpg", "/1.jpg") SCRIPT_LOGIN("cam") SCRIPT_PASV STOR(
         "2.jpg", "/2.jpg") "> SIZE 1.jpg\n? file stat /1.jpg\nfile ENOENT\n< 213 4711\n"},
    {"a camera that makes its folders every time",
     SCRIPT_LOGIN("cam") "> XMKD /2026/01\n? file make /2026/01\nfile EEXIST\n"
                         "< 550 \"/2026/01\": File exists.\n"
                         "> XCWD /2026/01/\n? file enter /2026/01\nfile folder\n"
                         "< 250 In \"/2026/01\".\n> XPWD\n< 257 \"/2026/01\"\n"
                         "> XCUP\n< 250 In \"/2026\".\n" SCRIPT_PASV STOR("..\\snap\\\\a.jpg ",
                                                                          "/snap/a.jpg")},
    {"a camera that sends pictures as text",
     SCRIPT_LOGIN("cam") "> TYPE A\n< 200 Type A; bytes are kept as they are.\n" SCRIPT_PASV STOR(
         "a.jpg", "/a.jpg")},
    {"the test button of a camera",
     SCRIPT_LOGIN("cam") MAKE("test", "/test") ENTER("test", "/test") SCRIPT_PASV STOR(
         "test.txt", "/test/test.txt") "> DELE test.txt\n? file delete "
                                       "/test/test.txt own\nfile ok\n< 250 Deleted.\n"
                                       "> CDUP\n< 250 In \"/\".\n"
                                       "> RMD test\n? file remove-folder "
                                       "/test own\nfile ok\n< 250 Folder removed.\n"
                                       "> RMD test\n< 550 This account may not "
                                       "remove folders that it has not just made "
                                       "(right \"delete\").\n" QUIT},
    {"the test button, when others were quicker",
     SCRIPT_LOGIN("cam") MAKE("test", "/test") SCRIPT_PASV STOR(
         "test/a.txt",
         "/test/a.txt") "> DELE test/a.txt\n? file delete /test/a.txt own\nfile ENOENT\n< 250 "
                        "Deleted.\n"
                        "> DELE test/a.txt\n< 550 This account may not delete files that it has "
                        "not just stored "
                        "(right \"delete\").\n"
                        "> CWD test\n? file enter /test\nfile ENOENT\n< 250 In \"/test\".\n"
                        "> RMD /test\n? file remove-folder /test own\nfile ENOENT\n< 250 Folder "
                        "removed.\n"},
    {"a camera that looks first", SCRIPT_LOGIN("cam") SCRIPT_PASV
     "> LIST -a\n? transfer list / long empty\nopened connected\n< 125 Here comes the list.\n"
     "end done\n< 226 Transfer complete.\n"},
    {"a camera that goes on where it was cut", SCRIPT_LOGIN("cam") SCRIPT_PASV
     "> STOR a.jpg\n? transfer store /a.jpg overwrite\nopened ok\n< 150 Ready for \"/a.jpg\".\n"
     "end cut\n< 426 Transfer cut, nothing was stored.\n"
     "> SIZE a.jpg\n< 550 This account may not look at files that it has not just stored "
     "(right \"list\").\n"
     "> REST 1000\n< 350 The next transfer begins at 1000.\n" SCRIPT_PASV
     "> STOR a.jpg\n? transfer append /a.jpg at 1000 overwrite\nopened EINVAL\n"
     "< 554 \"/a.jpg\": the restart position lies behind the end of the file.\n"},
    {"a browser that looks around",
     SCRIPT_LOGIN(
         "all") "> CWD /\n? file enter /\nfile folder\n< 250 In \"/\".\n" SCRIPT_EPSV
                "> MLSD\n? transfer list / facts\nopened ok\n"
                "< 150 Here comes the list.\nend done\n< 226 Transfer complete.\n" SCRIPT_EPSV
                "> REST 10\n< 350 The next transfer begins at 10.\n"
                "> RETR a.jpg\n? transfer retrieve /a.jpg at 10\nopened ok\n"
                "< 150 Here comes \"/a.jpg\" (42 bytes).\nend done\n"
                "< 226 Transfer complete.\n"},
    {"a camera that is switched off", SCRIPT_LOGIN("cam") SCRIPT_PASV
     "> STOR a.jpg\n? transfer store /a.jpg overwrite\nopened ok\n< 150 Ready for \"/a.jpg\".\n"
     "! ABOR\n? abort\nend cut\n< 426 Transfer cut, nothing was stored.\n< 226 ABOR done.\n" QUIT},
};

static const struct session sessions[] = {
    /* Login. */
    {"a password keeps its spaces", "> USER cam\n< 331 Password?\n> PASS  a b \n? login\n"},
    {"three refusals are enough",
     "> USER a\n< 331 Password?\n> PASS x\n? login\nlogin no\n< 530 Login incorrect.\n"
     "> PASS y\n< 503 Say USER first.\n"
     "> USER b\n< 331 Password?\n> PASS x\n? login\nlogin no\n< 530 Login incorrect.\n"
     "> USER c\n< 331 Password?\n> PASS\n? login\nlogin no\n? close\n"
     "< 421 Login incorrect; too many attempts, closing.\n"
     "> USER d\n? close\n"},
    {"neither REIN nor USER forgets refusals",
     "> USER a\n< 331 Password?\n> PASS x\n? login\nlogin no\n< 530 Login incorrect.\n"
     "> REIN\n< 220 Ready for a new login.\n"
     "> USER a\n< 331 Password?\n> USER b\n< 331 Password?\n> PASS x\n? login\nlogin no\n"
     "< 530 Login incorrect.\n"
     "> USER c\n< 331 Password?\n> PASS x\n? login\nlogin no\n? close\n"
     "< 421 Login incorrect; too many attempts, closing.\n"},
    {"a login forgets refusals",
     "> USER a\n< 331 Password?\n> PASS x\n? login\nlogin no\n< 530 Login incorrect.\n"
     "> USER a\n< 331 Password?\n> PASS x\n? login\nlogin no\n< 530 Login "
     "incorrect.\n" SCRIPT_LOGIN(
         "cam") "> USER a\n< 331 Password?\n> PASS x\n? login\nlogin no\n< 530 Login incorrect.\n"},
    {"USER again logs out",
     SCRIPT_LOGIN("cam") ENTER("x", "/x") "> USER all\n< 331 Password?\n"
                                          "> PWD\n< 530 Log in first: USER, then PASS.\n"
                                          "> PASS x\n? login\nlogin all\n< 230 Logged in.\n"
                                          "> PWD\n< 257 \"/\"\n"},
    {"REIN logs out",
     SCRIPT_LOGIN("cam") SCRIPT_PASV "> REIN\n< 220 Ready for a new login.\n"
                                     "> PASS x\n< 503 Say USER first.\n"
                                     "> PASV\n< 530 Log in first: USER, then PASS.\n"},
    {"another account does not inherit what was stored",
     SCRIPT_LOGIN("cam") SCRIPT_PASV STOR("a.jpg", "/a.jpg")
         SCRIPT_LOGIN("store") "> DELE a.jpg\n< 550 This account may not delete files that it has "
                               "not just stored "
                               "(right \"delete\").\n"},
    {"REIN forgets what was stored",
     SCRIPT_LOGIN("cam")
         SCRIPT_PASV STOR("a.jpg", "/a.jpg") "> REIN\n< 220 Ready for a new login.\n" SCRIPT_LOGIN(
             "cam") "> DELE a.jpg\n< 550 This account may not delete files that it has not just "
                    "stored "
                    "(right \"delete\").\n"},
    /* TLS. */
    {"TLS where it is required",
     "options tls required\n"
     "> USER cam\n< 530 This server needs TLS: switch on FTPS (explicit).\n"
     "> PASS x\n< 503 Say USER first.\n"
     "> NOOP\n< 200 Yes.\n"
     "> AUTH TLS-C\n? tls\n< 234 Begin the TLS handshake.\nsecured\n" SCRIPT_LOGIN("cam")
         SCRIPT_PASV "> STOR a\n< 522 Data connections must be protected here: PBSZ 0, PROT P.\n"
                     "> PROT P\n< 503 Say PBSZ 0 first.\n"
                     "> PBSZ x\n< 501 Say PBSZ 0.\n"
                     "> PBSZ 0\n< 200 PBSZ=0\n"
                     "> PROT C\n< 534 Data connections must be protected here.\n"
                     "> PROT S\n< 536 TLS has the levels C and P only.\n"
                     "> PROT E\n< 536 TLS has the levels C and P only.\n"
                     "> PROT X\n< 504 Say PROT P or PROT C.\n"
                     "> PROT P\n< 200 Data connections are protected.\n" STOR("a", "/a")},
    {"AUTH SSL, and back to clear data",
     "options tls\n> AUTH ssl\n? tls\n< 234 Begin the TLS handshake.\nsecured\n"
     "> AUTH TLS\n< 503 This connection is in TLS already.\n" SCRIPT_LOGIN(
         "cam") "> PBSZ 0\n< 200 PBSZ=0\n> PROT P\n< 200 Data connections are protected.\n"
                "> PROT C\n< 200 Data connections are in clear.\n"
                "> CCC\n< 534 The control connection stays in TLS.\n"
                "> REIN\n< 502 Not within TLS; USER begins a new login.\n"
                "> STAT\n< 211-Status:\n<  Logged in as cam, in \"/\"\n"
                "<  Type Image, structure File, mode Stream; data connection: none\n"
                "<  Control connection in TLS, data in clear\n< 211 End.\n" SCRIPT_PASV STOR("a",
                                                                                             "/a")},
    {"AUTH TLS after a login begins it anew",
     "options tls\n" SCRIPT_LOGIN("cam") ENTER("x", "/x") SCRIPT_PASV
     "> AUTH TLS\n? tls\n< 234 Begin the TLS handshake.\nsecured\n"
     "> PWD\n< 530 Log in first: USER, then PASS.\n"
     "> PASS x\n< 503 Say USER first.\n" SCRIPT_LOGIN(
         "cam") "> PWD\n< 257 \"/\"\n"
                "> LIST\n< 425 Say PASV, EPSV, PORT or EPRT first.\n"},
    {"AUTH TLS between USER and PASS", "options tls\n> USER cam\n< 331 Password?\n"
                                       "> AUTH TLS\n? tls\n< 234 Begin the TLS "
                                       "handshake.\nsecured\n> PASS x\n< 503 Say USER first.\n"},
    {"an account that needs TLS",
     "options tls\n> USER tls\n< 331 Password?\n> PASS x\n? login\nlogin tls\n"
     "< 530 This account needs TLS: switch on FTPS (explicit).\n"
     "> PWD\n< 530 Log in first: USER, then PASS.\n"
     "> AUTH TLS\n? tls\n< 234 Begin the TLS handshake.\nsecured\n" SCRIPT_LOGIN("tls") SCRIPT_EPSV
     "> STOR a\n< 522 Data connections must be protected here: PBSZ 0, PROT P.\n"
     "> PBSZ 0\n< 200 PBSZ=0\n> PROT C\n< 534 Data connections must be protected here.\n"
     "> PROT P\n< 200 Data connections are protected.\n" STOR("a", "/a")},
    {"implicit TLS is protected from the start",
     "options tls implicit required\n" SCRIPT_LOGIN("cam")
         SCRIPT_PASV STOR("a", "/a") "> PROT P\n< 200 Data connections are protected.\n"},
    /* Data connections. */
    {"EPSV ALL",
     SCRIPT_LOGIN("cam") "> EPSV ALL\n< 200 Only EPSV from now on.\n"
                         "> PASV\n< 503 After EPSV ALL only EPSV is accepted.\n"
                         "> PORT 10,0,0,7,19,137\n"
                         "< 503 After EPSV ALL only EPSV is accepted.\n"
                         "> EPRT |1|10.0.0.7|5001|\n"
                         "< 503 After EPSV ALL only EPSV is accepted.\n" SCRIPT_EPSV STOR("a",
                                                                                          "/a")},
    {"a new login forgets EPSV ALL",
     SCRIPT_LOGIN("cam") "> EPSV ALL\n< 200 Only EPSV from now on.\n" SCRIPT_LOGIN("cam")
         SCRIPT_PASV},
    {"IPv6",
     "options ipv6\n" SCRIPT_LOGIN(
         "cam") "> PASV\n< 522 PASV cannot name an IPv6 address, use EPSV.\n"
                "> PORT 10,0,0,7,19,137\n< 522 PORT cannot name an IPv6 address, use EPRT.\n"
                "> EPSV 1\n< 522 Network protocol not supported, use (2).\n"
                "> EPSV 2\n? listen extended\nlisten 5001\n"
                "< 229 Entering Extended Passive Mode (|||5001|).\n"
                "> EPRT |1|10.0.0.7|5001|\n< 522 Network protocol not supported, use (2).\n"
                "> EPRT |2|fd00::8|5001|\n"
                "< 501 Data goes to your own address only; passive mode avoids this.\n"
                "> EPRT |2|10.0.0.7|5001|\n< 501 That is no address.\n"
                "> EPRT |2|fd00::7|80|\n< 504 Ports below 1024 are refused.\n"
                "> EPRT |2|fd00:0:0:0::7|5001|\n< 200 EPRT command successful.\n"
                "> EPRT |2|::|5001|\n< 200 EPRT command successful.\n"
                "> EPRT |2|::1|5001|\n"
                "< 501 Data goes to your own address only; passive mode avoids this.\n"},
    {"an IPv4 peer on an IPv6 socket",
     "options mapped\n" SCRIPT_LOGIN(
         "cam") "> PORT 10,0,0,7,19,137\n< 200 PORT command successful.\n"
                "> EPRT |1|10.0.0.7|5001|\n< 200 EPRT command successful.\n" SCRIPT_PASV},
    {"one transfer, one data connection",
     SCRIPT_LOGIN("cam")
         SCRIPT_PASV STOR("a", "/a") "> STOR b\n< 425 Say PASV, EPSV, PORT or EPRT first.\n"},
    {"a refusal before the transfer leaves the data connection", SCRIPT_LOGIN("cam") SCRIPT_PASV
     "> RETR a\n< 550 This account may not read files (right \"read\").\n" STOR("b", "/b")},
    {"no port is free",
     SCRIPT_LOGIN("cam") SCRIPT_PASV "> EPSV\n? listen extended\nlisten EADDRINUSE\n"
                                     "< 425 No port is free for a data connection; try again.\n"
                                     "> STOR a\n< 425 Say PASV, EPSV, PORT or EPRT first.\n"},
    {"an active port that does not answer",
     SCRIPT_LOGIN("cam") "> PORT 10,0,0,7,19,137\n< 200 PORT command successful.\n"
                         "> STOR a\n? transfer store /a overwrite\nopened ok\n"
                         "< 150 Ready for \"/a\".\nend no-connection\n"
                         "< 425 No data connection: your port did not answer, try passive mode.\n"},
    /* Sequences. */
    {"a restart position is for the next transfer",
     SCRIPT_LOGIN("all") "> REST 5\n< 350 The next transfer begins at 5.\n" SCRIPT_PASV TYPE_I
                         "> ALLO 9\n< 202 Noted; room is made while the file comes.\n"
                         "> STOR a\n? transfer append /a at 5 announced 9 overwrite\n" STORE("/a")
                             SCRIPT_PASV STOR("b", "/b")},
    {"another command forgets it",
     SCRIPT_LOGIN("all") SCRIPT_PASV "> REST 5\n< 350 The next transfer begins at 5.\n"
                                     "> NOOP\n< 200 Yes.\n" STOR("a", "/a")},
    {"an unknown command forgets it", SCRIPT_LOGIN("all") SCRIPT_PASV
     "> REST 5\n< 350 The next transfer begins at 5.\n"
     "> XYZ\n< 500 Unknown command; HELP shows the known ones.\n" STOR("a", "/a")},
    {"a line too long forgets it",
     SCRIPT_LOGIN("all") SCRIPT_PASV "> REST 5\n< 350 The next transfer begins at 5.\n"
                                     "too-long\n< 500 Line too long.\n" STOR("a", "/a")},
    {"a list forgets it",
     SCRIPT_LOGIN("all") SCRIPT_PASV "> REST 5\n< 350 The next transfer begins at 5.\n"
                                     "> LIST\n? transfer list / long\nopened ok\n"
                                     "< 150 Here comes the list.\nend done\n"
                                     "< 226 Transfer complete.\n" SCRIPT_PASV STOR("a", "/a")},
    {"a transfer that was refused forgets it",
     SCRIPT_LOGIN("all") "> REST 5\n< 350 The next transfer begins at 5.\n"
                         "> STOR a\n< 425 Say PASV, EPSV, PORT or EPRT first.\n" SCRIPT_PASV STOR(
                             "a", "/a")},
    {"an empty line forgets nothing", SCRIPT_LOGIN("all") SCRIPT_PASV
     "> REST 5\n< 350 The next transfer begins at 5.\n"
     "> \n> STOR a\n? transfer append /a at 5 overwrite\n" STORE("/a")},
    {"RNTO right after RNFR only",
     SCRIPT_LOGIN("all") "> RNTO b\n< 503 Say RNFR first.\n"
                         "> RNFR a\n? file stat /a\nfile ok\n< 350 Now RNTO.\n"
                         "> NOOP\n< 200 Yes.\n> RNTO b\n< 503 Say RNFR first.\n"
                         "> RNFR a\n? file stat /a\nfile ok\n< 350 Now RNTO.\n"
                         "too-long\n< 500 Line too long.\n> RNTO b\n< 503 Say RNFR first.\n"
                         "> RNFR a\n? file stat /a\nfile ok\n< 350 Now RNTO.\n"
                         "> RNTO /\n< 553 \"/\" stays.\n> RNTO b\n< 503 Say RNFR first.\n"
                         "> RNFR a\n? file stat /a\nfile ok\n< 350 Now RNTO.\n"
                         "> RNTO .incoming-b\n< 553 Name not allowed: it has control bytes or "
                         "is one that nobody looks at, as \".incoming-\".\n"
                         "> RNFR a\n? file stat /a\nfile ok\n< 350 Now RNTO.\n"
                         "> RNTO b\n? file rename /a -> /b overwrite\nfile EEXIST\n"
                         "< 550 \"/b\": File exists.\n"
                         "> RNFR a\n? file stat /a\nfile ok\n< 350 Now RNTO.\n"
                         "> RNTO a/b\n? file rename /a -> /a/b overwrite\nfile EINVAL\n"
                         "< 553 \"/a\" cannot become \"/a/b\".\n"},
    {"a rename of what was taken in the meantime",
     SCRIPT_LOGIN("cam") SCRIPT_PASV STOR(
         "tmp",
         "/tmp") "> RNFR tmp\n? file stat /tmp\nfile ENOENT\n< 350 Now RNTO.\n"
                 "> RNTO a.jpg\n? file rename /tmp -> /a.jpg overwrite own\nfile ENOENT\n"
                 "< 250 Renamed.\n"
                 "> SIZE a.jpg\n? file stat /a.jpg\nfile ENOENT\n< 213 4711\n"
                 "> SIZE tmp\n< 550 This account may not look at files that it has not just stored "
                 "(right \"list\").\n"},
    {"a rename of what is taken between the two",
     SCRIPT_LOGIN("cam") SCRIPT_PASV STOR(
         "tmp", "/tmp") "> RNFR tmp\n? file stat /tmp\nfile ok 4711\n< 350 Now RNTO.\n"
                        "> RNTO a.jpg\n? file rename /tmp -> /a.jpg overwrite own\nfile ENOENT\n"
                        "< 250 Renamed.\n"
                        "> MLST a.jpg\n? file stat /a.jpg\nfile ENOENT\n< 250-Facts:\n"
                        "<  type=file;size=4711;modify=20260102030405;perm=aw; "
                        "/a.jpg\n< 250 End.\n"},
    {"a rename of what another has stored since",
     SCRIPT_LOGIN("store") SCRIPT_PASV "> STOR tmp\n? transfer store /tmp\n" STORE(
         "/tmp") "> RNFR tmp\n? file stat /tmp\nfile ok 5\n< 350 Now RNTO.\n"
                 "> RNTO a.jpg\n? file rename /tmp -> /a.jpg own\nfile EEXIST\n"
                 "< 550 \"/a.jpg\": File exists.\n"
                 "> DELE a.jpg\n< 550 This account may not delete files that it has not just "
                 "stored "
                 "(right \"delete\").\n"
                 "> DELE tmp\n? file delete /tmp own\nfile ENOENT\n< 250 Deleted.\n"},
    {"whoever may rename anything renames what is there, or what was taken and nothing else",
     SCRIPT_LOGIN("all") SCRIPT_PASV STOR(
         "tmp", "/tmp") "> RNFR tmp\n? file stat /tmp\nfile ok 5\n< 350 Now RNTO.\n"
                        "> RNTO a.jpg\n? file rename /tmp -> /a.jpg overwrite\nfile ok\n< 250 "
                        "Renamed.\n" SCRIPT_PASV STOR(
                            "tmp",
                            "/tmp") "> RNFR tmp\n? file stat /tmp\nfile ENOENT\n< 350 Now RNTO.\n"
                                    "> RNTO a.jpg\n? file rename /tmp -> /a.jpg overwrite "
                                    "own\nfile ENOENT\n"
                                    "< 250 Renamed.\n"},
    {"a folder that is renamed takes its files along",
     SCRIPT_LOGIN("store") MAKE("d", "/d") SCRIPT_PASV "> STOR d/a\n? transfer store /d/a\n" STORE(
         "/d/a") "> RNFR d\n? file stat /d\nfile folder\n< 350 Now RNTO.\n"
                 "> RNTO e\n? file rename /d -> /e own\nfile ok\n< 250 Renamed.\n"
                 "> SIZE e/a\n? file stat /e/a\nfile ENOENT\n< 213 4711\n"
                 "> SIZE d/a\n< 550 This account may not look at files that it has not just stored "
                 "(right \"list\").\n"},
    {"what one stored one may write over",
     SCRIPT_LOGIN("store") SCRIPT_PASV "> STOR a\n? transfer store /a\n" STORE("/a") SCRIPT_PASV
     "> STOR a\n? transfer store /a overwrite-own\n" STORE("/a") SCRIPT_PASV
     "> APPE a\n? transfer append /a at -1 overwrite-own\n" STORE(
         "/a") "> MFMT 20250102030405 a\n? file modified /a 20250102030405 own\nfile ok\n"
               "< 213 Modify=20250102030405; /a\n"},
    {"STOU is remembered under the name that it got",
     SCRIPT_LOGIN("cam") ENTER("x", "/x") SCRIPT_PASV
     "> STOU\n? transfer store /x/picture.jpg unique\nopened ok file\n< 150 FILE: file\n"
     "end done 4711\n< 226 Stored, 4711 bytes.\n"
     "> SIZE file\n? file stat /x/file\nfile ENOENT\n< 213 4711\n"},
    {"what failed is not remembered",
     SCRIPT_LOGIN("cam") SCRIPT_PASV "> STOR a\n? transfer store /a overwrite\nopened ok\n"
                                     "< 150 Ready for \"/a\".\nend ENOSPC\n"
                                     "< 452 \"/a\": the disk is full, nothing was stored.\n"
                                     "> SIZE a\n< 550 This account may not look at files that it "
                                     "has not just stored (right \"list\").\n"},
    {"an announced size is for the next upload, whatever comes between",
     SCRIPT_LOGIN("cam") "> ALLO 9\n< 202 Noted; room is made while the file comes.\n" ENTER("x",
                                                                                             "/x")
         SCRIPT_PASV "> STOR a\n? transfer store /x/a announced 9 overwrite\n" STORE("/x/a")
             SCRIPT_PASV STOR("b", "/x/b")},
    {"names with quotes", SCRIPT_LOGIN("cam") "> CWD a\"\"b\n? file enter /a\"\"b\nfile folder\n"
                                              "< 250 In \"/a\"\"b\".\n"
                                              "> PWD\n< 257 \"/a\"\"\"\"b\"\n"},
    /* During a transfer. */
    {"STAT tells how far it is", SCRIPT_LOGIN("cam") SCRIPT_PASV
     "> STOR a\n? transfer store /a overwrite\n! STAT\n"
     "< 211 Receiving \"/a\": 100 bytes so far.\n"
     "opened ok\n< 150 Ready for \"/a\".\n! STAT\n< 211 Receiving \"/a\": 100 bytes so far.\n"
     "end done 4711\n< 226 Stored, 4711 bytes.\n"},
    {"QUIT lets it end", SCRIPT_LOGIN("cam") SCRIPT_PASV
     "> STOR a\n? transfer store /a overwrite\nopened ok\n< 150 Ready for \"/a\".\n"
     "! QUIT\nend done 4711\n? close\n< 226 Stored, 4711 bytes.\n< 221 Goodbye.\n"
     "> NOOP\n? close\n"},
    {"QUIT, and then it is refused", SCRIPT_LOGIN("cam") SCRIPT_PASV
     "> STOR a\n? transfer store /a overwrite\n! QUIT\nopened ENOSPC\n? close\n"
     "< 452 \"/a\": the disk is full, nothing was stored.\n< 221 Goodbye.\n"},
    {"ABOR comes too late", SCRIPT_LOGIN("cam") SCRIPT_PASV
     "> STOR a\n? transfer store /a overwrite\nopened ok\n< 150 Ready for \"/a\".\n"
     "! ABOR\n? abort\nend done 4711\n< 226 Stored, 4711 bytes.\n< 226 ABOR done.\n"},
    {"ABOR comes later still",
     SCRIPT_LOGIN("cam") SCRIPT_PASV STOR("a", "/a") "! ABOR\n< 226 Nothing was under way.\n"},
    {"ABOR before it is open", SCRIPT_LOGIN("cam") SCRIPT_PASV
     "> STOR a\n? transfer store /a overwrite\n! ABOR\n? abort\nend cut\n"
     "< 426 Transfer cut, nothing was stored.\n< 226 ABOR done.\n"},
    {"ABOR twice", SCRIPT_LOGIN("cam") SCRIPT_PASV
     "> STOR a\n? transfer store /a overwrite\nopened ok\n< 150 Ready for \"/a\".\n"
     "! ABOR\n? abort\n! ABOR\n? abort\nend cut\n< 426 Transfer cut, nothing was stored.\n"
     "< 226 ABOR done.\n< 226 ABOR done.\n"},
    {"ABOR drops a listener",
     SCRIPT_LOGIN("cam") SCRIPT_PASV "> ABOR\n< 226 Nothing was under way.\n"
                                     "> STOR a\n< 425 Say PASV, EPSV, PORT or EPRT first.\n"},
    {"goodbye during a request",
     SCRIPT_LOGIN("cam") SCRIPT_PASV "> STOR a\n? transfer store /a overwrite\n"
                                     "goodbye Idle for 300 s.\n< 421 Idle for 300 s.\n"
                                     "opened ok\n? close\n"
                                     "end done 1\n? close\n"
                                     "> NOOP\n? close\n"},
    {"goodbye during a login", "> USER cam\n< 331 Password?\n> PASS x\n? login\n"
                               "goodbye Too slow.\n< 421 Too slow.\nlogin cam\n? close\n"},
};

static void plays_each_client(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        script_run(clients[i].name, clients[i].script);
}

static void plays_each_session(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(sessions); i++)
        script_run(sessions[i].name, sessions[i].script);
}

static void remembers_the_last_eight_uploads(void **state UNUSED)
{
    struct script s = {.name = "nine uploads"};
    script_go_on(&s, SCRIPT_LOGIN("cam"));
    for (int i = 0; i <= FTP_RECENT_MAX; i++) {
        char text[400];
        (void)snprintf(text, sizeof(text),
                       SCRIPT_PASV "> STOR %d\n? transfer store /%d overwrite\nopened ok\n"
                                   "< 150 Ready for \"/%d\".\nend done %d\n"
                                   "< 226 Stored, %d bytes.\n",
                       i, i, i, i, i);
        script_go_on(&s, text);
    }
    script_go_on(&s, "> SIZE 0\n< 550 This account may not look at files that it has not just "
                     "stored (right \"list\").\n");
    for (int i = 1; i <= FTP_RECENT_MAX; i++) {
        char text[100];
        (void)snprintf(text, sizeof(text), "> SIZE %d\n? file stat /%d\nfile ENOENT\n< 213 %d\n", i,
                       i, i);
        script_go_on(&s, text);
    }
    ftp_engine_free(s.en);
}

static void remembers_a_fixed_name_once(void **state UNUSED)
{
    struct script s = {.name = "image.jpg"};
    script_go_on(&s, SCRIPT_LOGIN("cam") SCRIPT_PASV STOR("first", "/first"));
    for (int i = 0; i < 2 * FTP_RECENT_MAX; i++)
        script_go_on(&s, SCRIPT_PASV STOR("image.jpg", "/image.jpg"));
    script_go_on(&s, "> SIZE first\n? file stat /first\nfile ENOENT\n< 213 4711\n");
    ftp_engine_free(s.en);
}

static void lists_what_the_session_stored_itself(void **state UNUSED)
{
    static const struct {
        const char *line, *disk, *list;
    } table[] = {
        {"NLST", "", "b\r\na\r\n"},
        {"NLST .", "a\r\n", "a\r\nb\r\n"}, /* the disk has one of them still */
        {"NLST", "b\r\nx\r\na\r\n", "b\r\nx\r\na\r\n"},
        {"NLST", "xa\r\n", "xa\r\nb\r\na\r\n"},
        {"NLST d", "", "c\r\n"},
        {"NLST d/e", "", ""},
        {"NLST b", "", "b\r\n"},
        {"NLST /d/c", "", "c\r\n"},
        {"MLSD", "",
         "type=file;size=4711;modify=20260102030405;perm=aw; b\r\n"
         "type=file;size=4711;modify=20260102030405;perm=aw; a\r\n"},
        {"LIST", "-rw-r--r--   1 ftp      ftp           100 Jan 02 02:00 b\r\n",
         "-rw-r--r--   1 ftp      ftp           100 Jan 02 02:00 b\r\n"
         "-rw-r--r--   1 ftp      ftp          4711 Jan 02 03:04 a\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct script s = {.name = table[i].line};
        script_go_on(&s,
                     SCRIPT_LOGIN("cam") MAKE("m", "/m") SCRIPT_PASV STOR("a", "/a")
                         SCRIPT_PASV STOR("d/c", "/d/c") SCRIPT_PASV STOR("b", "/b") SCRIPT_PASV);
        assert_int_equal(ftp_engine_line(s.en, table[i].line, strlen(table[i].line)),
                         FTP_ASK_TRANSFER);
        AUTO_DONE(dynbuf) text;
        dynbuf_init(&text, 4096);
        (void)dynbuf_puts(&text, table[i].disk);
        ftp_engine_list_own(s.en, &text, wall_from_seconds(SCRIPT_MODIFIED + 60));
        test_expect_text(table[i].line, dynbuf_str(&text), table[i].list);
        ftp_engine_free(s.en);
    }
    script_run(
        "STAT of a folder",
        SCRIPT_LOGIN("cam") SCRIPT_PASV STOR(
            "d/a", "/d/a") "> STAT d\n< 213-\"/d\":\n"
                           "< -rw-r--r--   1 ftp      ftp          4711 Jan 02 03:04 a\n< 213 "
                           "End.\n" SCRIPT_LOGIN("cam") "> STAT -l\n< 213-\"/\":\n< 213 End.\n");
}

static void adds_nothing_to_a_list_that_is_full(void **state UNUSED)
{
    struct script s = {.name = "full"};
    script_go_on(&s, SCRIPT_LOGIN("cam") SCRIPT_PASV STOR("a", "/a") SCRIPT_PASV);
    assert_int_equal(ftp_engine_line(s.en, "NLST", 4), FTP_ASK_TRANSFER);
    for (size_t room = 0; room <= 3; room++) { /* a name of one byte needs three */
        AUTO_DONE(dynbuf) text;
        dynbuf_init(&text, 3 + room);
        (void)dynbuf_puts(&text, "x\r\n");
        ftp_engine_list_own(s.en, &text, wall_from_seconds(0));
        assert_string_equal(dynbuf_str(&text), room < 3 ? "x\r\n" : "x\r\na\r\n");
        assert_false(text.failed);
    }
    ftp_engine_free(s.en);
}

static void interrupts_with_three_verbs_only(void **state UNUSED)
{
    static const char *const yes[] = {"ABOR", "abor", " ABOR ", "ABOR x", "QUIT", "STAT", "STAT "};
    static const char *const no[] = {"STAT x", "NOOP", "", " ", "ABORT", "STOR a", "ABOR\tx"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        if (!ftp_engine_interrupts(yes[i], strlen(yes[i])))
            CASE_FAILS("\"%s\"", yes[i]);
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (ftp_engine_interrupts(no[i], strlen(no[i])))
            CASE_FAILS("\"%s\"", no[i]);
}

static void hands_out_the_password_once(void **state UNUSED)
{
    struct script s = {.name = "password"};
    script_go_on(&s, "> USER cam\n< 331 Password?\n> PASS  s3cret \n? login\n");
    assert_string_equal(ftp_engine_user(s.en), "cam");
    assert_string_equal(ftp_engine_password(s.en), " s3cret ");
    assert_null(ftp_engine_account(s.en));
    script_go_on(&s, "login cam\n< 230 Logged in.\n");
    assert_string_equal(ftp_engine_password(s.en), "");
    assert_ptr_equal(ftp_engine_account(s.en), script_account("cam"));
    ftp_engine_free(s.en);
}

static void takes_no_nul_for_the_end_of_a_name_or_password(void **state UNUSED)
{
    static const struct {
        const char *line;
        size_t len;
        const char *reply;
    } table[] = {
        {"USER cam\0x", 10, "501 That is no user name.\r\n"},
        {"PASS secret\0x", 13, "501 That is no password.\r\n"},
        {"STOR a\0.jpg", 11, "550 Name"},
        {"NOOP\0", 5, "500 Unknown command; HELP shows the known ones.\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct script s = {.name = "NUL"};
        script_go_on(&s, i == 1 ? "> USER cam\n< 331 Password?\n" : SCRIPT_LOGIN("cam"));
        assert_int_equal(ftp_engine_line(s.en, table[i].line, table[i].len), FTP_ASK_NOTHING);
        const char *got = dynbuf_str(ftp_engine_replies(s.en));
        if (i == 2)
            assert_true(text_starts_with(got, "553 Name not allowed"));
        else
            test_expect_text("NUL", got, table[i].reply);
        ftp_engine_free(s.en);
    }
}

static void refuses_names_and_passwords_beyond_their_limits(void **state UNUSED)
{
    char line[1100];
    for (size_t len = 254; len <= 256; len++) {
        struct script s = {.name = "user"};
        script_go_on(&s, "options\n");
        memset(line, 'u', sizeof(line));
        memcpy(line, "USER ", 5);
        (void)ftp_engine_line(s.en, line, 5 + len);
        assert_string_equal(dynbuf_str(ftp_engine_replies(s.en)),
                            len <= 255 ? "331 Password?\r\n" : "501 That is no user name.\r\n");
        ftp_engine_free(s.en);
    }
    for (size_t len = 510; len <= 512; len++) {
        struct script s = {.name = "password"};
        script_go_on(&s, "> USER cam\n< 331 Password?\n");
        memcpy(line, "PASS ", 5);
        assert_int_equal(ftp_engine_line(s.en, line, 5 + len),
                         len <= 511 ? FTP_ASK_LOGIN : FTP_ASK_NOTHING);
        ftp_engine_free(s.en);
    }
}

static void tells_which_limit_a_path_broke(void **state UNUSED)
{
    struct script s = {.name = "long name"};
    script_go_on(&s, SCRIPT_LOGIN("cam") SCRIPT_PASV);
    char line[400];
    memset(line, 'n', sizeof(line));
    memcpy(line, "STOR ", 5);
    assert_int_equal(ftp_engine_line(s.en, line, 5 + 256), FTP_ASK_NOTHING);
    script_go_on(&s, "< 553 Path too long: 255 bytes a name, 1023 bytes and 32 folders in all.\n");
    ftp_engine_free(s.en);
}

/* A reply that does not go out whole is worse than none. */
static void closes_when_replies_pile_up(void **state UNUSED)
{
    struct script s = {.name = "flood"};
    script_go_on(&s, "options\n");
    enum ftp_ask ask = FTP_ASK_NOTHING;
    for (int i = 0; i < 1000 && ask == FTP_ASK_NOTHING; i++)
        ask = ftp_engine_line(s.en, "HELP", 4);
    assert_int_equal(ask, FTP_ASK_CLOSE);
    assert_true(ftp_engine_replies(s.en)->len <= 256 * 1024);
    ftp_engine_free(s.en);
}

static void masks_control_bytes_of_its_own_texts(void **state UNUSED)
{
    struct ftp_engine_options o = {.banner = "one\r\n230 two\x1b", .peer = "10.0.0.7"};
    struct ftp_engine *en = ftp_engine_new(&o);
    ftp_engine_greet(en);
    ftp_engine_goodbye(en, "a\nb");
    assert_string_equal(dynbuf_str(ftp_engine_replies(en)), "220 one??230 two?\r\n421 a?b\r\n");
    ftp_engine_free(en);
}

static void costs_less_than_a_kilobyte_when_idle(void **state UNUSED)
{
    if (TEST_SANITIZED)
        skip(); /* its allocator does not count */
    enum { ENGINES = 100 };
    struct script s[ENGINES];
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < ENGINES; i++) {
        s[i] = (struct script){.name = "idle"};
        script_go_on(&s[i],
                     SCRIPT_LOGIN("cam") ENTER("2026/01/02", "/2026/01/02")
                         SCRIPT_PASV STOR("a.jpg", "/2026/01/02/a.jpg") SCRIPT_PASV STOR(
                             "b.jpg", "/2026/01/02/b.jpg") "> HELP XYZ\n"
                                                           "< 501 There is no such command.\n");
    }
    size_t each = (mallinfo2().uordblks - before) / ENGINES;
    print_message("# %zu bytes\n", each);
    assert_true(each > 100 && each < 1024);
    for (int i = 0; i < ENGINES; i++)
        ftp_engine_free(s[i].en);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plays_each_client),
        cmocka_unit_test(plays_each_session),
        cmocka_unit_test(remembers_the_last_eight_uploads),
        cmocka_unit_test(remembers_a_fixed_name_once),
        cmocka_unit_test(lists_what_the_session_stored_itself),
        cmocka_unit_test(adds_nothing_to_a_list_that_is_full),
        cmocka_unit_test(interrupts_with_three_verbs_only),
        cmocka_unit_test(hands_out_the_password_once),
        cmocka_unit_test(takes_no_nul_for_the_end_of_a_name_or_password),
        cmocka_unit_test(refuses_names_and_passwords_beyond_their_limits),
        cmocka_unit_test(tells_which_limit_a_path_broke),
        cmocka_unit_test(closes_when_replies_pile_up),
        cmocka_unit_test(masks_control_bytes_of_its_own_texts),
        cmocka_unit_test(costs_less_than_a_kilobyte_when_idle),
    };
    return RUN_TESTS(tests);
}
