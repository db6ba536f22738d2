#pragma once
/* doc/openapi.json as it is built in, see tools/embed-openapi. */

#include <stddef.h>
#include <stdint.h>

extern const uint8_t openapi_text[];
extern const size_t openapi_size;
extern const char openapi_tag[]; /* an ETag, with its quotes */
