#pragma once
/* The pages: the files of web/, packed into the program by tools/embed-web. */

#include <stddef.h>
#include <stdint.h>

#include "sys/http_message.h"

struct web_file {
    const char *path; /* below web/ */
    const char *content_type;
    const char *tag;       /* of its content */
    size_t size;           /* unpacked */
    const uint8_t *packed; /* a gzip file */
    size_t packed_size;
};
extern const struct web_file web_files[]; /* by the bytes of their paths */
extern const size_t web_file_count;
extern const char web_files_version[]; /* of all of them */

/* Whether this is a browser that navigates, rather than a program that asks. */
bool web_wants_page(const struct http_request *req);
/* The page, which finds by its address what to show. */
void web_answer_page(const struct http_request *req, struct http_response *ret);
