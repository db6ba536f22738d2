/* The copy of the login as a program that pytest drives:
 * `token_backup_drive BUCKET ENDPOINT TOKEN_FILE` makes the first turn and says
 * "MS | WORDS | ERROR", MS being when it wants the next. */

#include <stdio.h>

#include "storage/token_backup_s3.h"

int main(int argc, char **argv)
{
    struct token_backup *b = NULL;
    struct http_client *c = NULL;
    struct token_backup_state s;
    struct err e = {0};
    if (argc != 4)
        return 2;
    const struct token_backup_options o = {
        .bucket = argv[1], .endpoint = argv[2], .token_file = argv[3]};
    if (http_client_new(-1, &c, &e) < 0 || token_backup_new(&o, &b, &e) < 0) {
        (void)printf("0 | | %s\n", e.text);
        http_client_free(c);
        return 1;
    }
    int64_t ms = token_backup_tend(b, c);
    token_backup_describe(b, &s);
    (void)printf("%lld | %s | %s\n", (long long)ms, s.text, s.error);
    token_backup_free(b);
    http_client_free(c);
    return 0;
}
