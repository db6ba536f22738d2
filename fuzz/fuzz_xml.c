/* Any bytes as an XML document; what is accepted is walked through. */

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "sys/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(xml) x = NULL;
    struct err e = {0};
    int r = xml_parse((const char *)data, size, &x, &e);
    assert((r == 0) == (x != NULL) && (r == 0) == (e.text[0] == '\0'));
    if (r < 0)
        return 0;
    const struct xml_node *root = xml_root(x);
    assert(root && strlen(xml_text(root)) <= size);
    assert(!xml_find(root, NULL, "no element has a name with blanks"));
    for (const struct xml_node *n = xml_find(root, NULL, "Uri"); n; n = xml_next(n))
        assert(strlen(xml_text(n)) <= size && strlen(xml_attribute(n, "token")) <= size);
    return 0;
}
