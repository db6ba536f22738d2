/* A login as a program that pytest drives:
 * `google_login_drive TOKEN_FILE TOKEN_URL [SERVICE_FILE]`, a command a line, an answer a line:
 *   token       ok TOKEN, or error ERRNO RETRY WORDS
 *   refused     the last token was refused by an API
 *   state       ok WORDS | ERROR
 */

#include <stdio.h>
#include <string.h>

#include "storage/gdrive_config.h"
#include "storage/google_login.h"

static void answer_state(struct google_login *l)
{
    struct google_login_state s;
    google_login_describe(l, &s);
    (void)printf("ok %s | %s\n", s.text, s.error);
}

int main(int argc, char **argv)
{
    struct google_login *l = NULL;
    struct http_client *c = NULL;
    struct err e = {0};
    char line[64], token[GOOGLE_TOKEN_MAX] = "";
    if (argc < 3)
        return 2;
    struct google_login_options o = {.token_file = argv[1],
                                     .token_url = argv[2],
                                     .service_file = argc > 3 ? argv[3] : NULL,
                                     .scope = GDRIVE_SCOPE};
    if (http_client_new(-1, &c, &e) < 0 || google_login_open(&o, &l, &e) < 0) {
        (void)printf("error %d %s %s\n", -e.code, err_retry_name(e.retry), e.text);
        http_client_free(c);
        return 1;
    }
    while (fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "refused") == 0) {
            google_login_refused(l, token);
            (void)printf("ok\n");
        } else if (strcmp(line, "state") == 0) {
            answer_state(l);
        } else if (google_login_token(l, c, token, &e) == 0) {
            (void)printf("ok %s\n", token);
        } else {
            (void)printf("error %d %s %s\n", -e.code, err_retry_name(e.retry), e.text);
        }
        (void)fflush(stdout);
    }
    google_login_close(l);
    http_client_free(c);
    return 0;
}
