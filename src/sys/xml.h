#pragma once
/* Small XML documents from outside, and the one door to expat.
 *
 * A document is read whole into a tree, with namespaces resolved: elements are looked for by
 * namespace URI and local name, never by prefix. A document type declaration is refused before
 * anything in it is read, so there are no entities to expand and nothing to fetch. Size, depth and
 * number of elements have limits. Pure; any thread. */

#include <stddef.h>

#include "base/err.h"
#include "base/macros.h"

#define XML_BYTES_MAX (512 * 1024)
#define XML_DEPTH_MAX 64
#define XML_NODES_MAX 16384

struct xml;      /* a document */
struct xml_node; /* an element; lives as long as its document */

/* -EFBIG over a limit, -EINVAL not well-formed or with a DOCTYPE. */
int xml_parse(const char *text, size_t size, struct xml **ret, struct err *e);
void xml_free(struct xml *x);
DEFINE_AUTO(xml, xml_free)

const struct xml_node *xml_root(const struct xml *x);
/* The first element of that name inside `in`, at any depth, in document order; `in` itself does not
 * count. NULL when there is none, or when `in` is NULL, so that look-ups chain. `ns` NULL = any
 * namespace. */
const struct xml_node *xml_find(const struct xml_node *in, const char *ns, const char *name);
/* The next one behind `after` of the same name and namespace, among its siblings. */
const struct xml_node *xml_next(const struct xml_node *after);
/* The text directly in an element, without blanks at both ends; "" for NULL. */
const char *xml_text(const struct xml_node *n);
/* An attribute without a namespace; "" when absent, or for NULL. */
const char *xml_attribute(const struct xml_node *n, const char *name);
