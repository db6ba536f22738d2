#include "sys/xml.h"

#include <errno.h>
#include <expat.h>
#include <stdbool.h>
#include <string.h>

#include "base/dynbuf.h"
#include "base/mem.h"
#include "base/text.h"

/* Between namespace and name: no character of either. */
#define SEPARATOR '\n'

struct xml_node {
    struct xml_node *parent, *first, *last, *next;
    char *name;        /* namespace, separator, local name; or the name alone */
    char **attributes; /* name, value, ..., NULL */
    struct dynbuf text;
};

struct xml {
    XML_Parser parser; /* while reading */
    struct xml_node *root, *open;
    int depth, nodes;
    const char *refused; /* why reading was stopped */
};

static void node_free(struct xml_node *n)
{
    for (char **a = n->attributes; a && *a; a++)
        free(*a);
    free(n->attributes);
    free(n->name);
    dynbuf_done(&n->text);
    free(n);
}

static void refuse(struct xml *x, const char *why)
{
    x->refused = why;
    XML_StopParser(x->parser, XML_FALSE);
}

static void on_doctype(void *arg, const char *name, const char *system, const char *public,
                       int internal)
{
    (void)name;
    (void)system;
    (void)public;
    (void)internal;
    refuse(arg, "it has a document type declaration, which is refused");
}

static void on_start(void *arg, const char *name, const char **attributes)
{
    struct xml *x = arg;
    if (x->refused)
        return;
    if (++x->depth > XML_DEPTH_MAX || ++x->nodes > XML_NODES_MAX) {
        refuse(x, "it has too many elements");
        return;
    }
    struct xml_node *n = xcalloc(1, sizeof(*n));
    n->name = xstrdup(name);
    dynbuf_init(&n->text, XML_BYTES_MAX);
    size_t count = 0;
    while (attributes[count])
        count++;
    n->attributes = xcalloc(count + 1, sizeof(char *));
    for (size_t i = 0; i < count; i++)
        n->attributes[i] = xstrdup(attributes[i]);
    n->parent = x->open;
    if (!x->root)
        x->root = n;
    else if (x->open->last)
        x->open->last->next = n;
    else
        x->open->first = n;
    if (x->open)
        x->open->last = n;
    x->open = n;
}

static void on_end(void *arg, const char *name)
{
    (void)name;
    struct xml *x = arg;
    if (x->refused)
        return;
    x->depth--;
    struct dynbuf *t = &x->open->text;
    while (t->len && memchr(" \t\r\n", t->data[t->len - 1], 4))
        t->data[--t->len] = '\0';
    x->open = x->open->parent;
}

static void on_text(void *arg, const char *text, int len)
{
    struct xml *x = arg;
    if (x->refused || !x->open)
        return;
    struct dynbuf *t = &x->open->text;
    for (; len && !t->len && memchr(" \t\r\n", *text, 4); len--)
        text++;
    if (dynbuf_append(t, text, (size_t)len) < 0)
        refuse(x, "there is no memory for it");
}

int xml_parse(const char *text, size_t size, struct xml **ret, struct err *e)
{
    if (size > XML_BYTES_MAX)
        return err_set(e, -EFBIG, ERR_NEVER, "XML of %zu bytes, the limit is %d", size,
                       XML_BYTES_MAX);
    AUTO(xml) x = xcalloc(1, sizeof(*x));
    x->parser = XML_ParserCreateNS(NULL, SEPARATOR);
    if (!x->parser)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory to read XML");
    XML_SetUserData(x->parser, x);
    XML_SetElementHandler(x->parser, on_start, on_end);
    XML_SetCharacterDataHandler(x->parser, on_text);
    XML_SetStartDoctypeDeclHandler(x->parser, on_doctype);
    enum XML_Status status = XML_Parse(x->parser, text, (int)size, 1);
    enum XML_Error code = XML_GetErrorCode(x->parser);
    unsigned long line = XML_GetCurrentLineNumber(x->parser);
    XML_ParserFree(STEAL(x->parser));
    if (x->refused)
        return err_set(e, -EINVAL, ERR_NEVER, "XML: %s", x->refused);
    if (status != XML_STATUS_OK || !x->root)
        return err_set(e, -EINVAL, ERR_NEVER, "not XML: line %lu: %s", line, XML_ErrorString(code));
    *ret = STEAL(x);
    return 0;
}

/* The element behind `n` in document order within `top`. */
static struct xml_node *step(const struct xml_node *n, const struct xml_node *top)
{
    if (n->first)
        return n->first;
    while (n != top && !n->next)
        n = n->parent;
    return n == top ? NULL : n->next;
}

void xml_free(struct xml *x)
{
    if (!x)
        return;
    /* Leaves first, without recursion: a node goes when its last child is gone. */
    for (struct xml_node *n = x->root; n;) {
        if (n->first) {
            struct xml_node *child = n->first;
            n->first = child->next;
            n = child;
            continue;
        }
        struct xml_node *parent = n->parent;
        node_free(n);
        n = parent;
    }
    free(x);
}

const struct xml_node *xml_root(const struct xml *x)
{
    return x->root;
}

static bool is_named(const struct xml_node *n, const char *ns, const char *name)
{
    const char *local = strchr(n->name, SEPARATOR);
    size_t ns_len = local ? (size_t)(local - n->name) : 0;
    local = local ? local + 1 : n->name;
    return !strcmp(local, name) && (!ns || (strlen(ns) == ns_len && !memcmp(n->name, ns, ns_len)));
}

const struct xml_node *xml_find(const struct xml_node *in, const char *ns, const char *name)
{
    if (!in)
        return NULL;
    for (const struct xml_node *n = step(in, in); n; n = step(n, in))
        if (is_named(n, ns, name))
            return n;
    return NULL;
}

const struct xml_node *xml_next(const struct xml_node *after)
{
    for (const struct xml_node *n = after->next; n; n = n->next)
        if (!strcmp(n->name, after->name))
            return n;
    return NULL;
}

const char *xml_text(const struct xml_node *n)
{
    return n ? dynbuf_str(&n->text) : "";
}

const char *xml_attribute(const struct xml_node *n, const char *name)
{
    for (char **a = n ? n->attributes : NULL; a && a[0]; a += 2)
        if (!strcmp(a[0], name))
            return a[1];
    return "";
}
