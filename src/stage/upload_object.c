#include "stage/upload_object.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

int upload_mark_write(const struct storage_mark *m, char ret[UPLOAD_MARK_MAX], struct err *e)
{
    if (!m->id[0] || strchr(m->id, '\n') || strchr(m->resume, '\n') || strchr(m->url, '\n') ||
        text_format(ret, UPLOAD_MARK_MAX, "%s\n%s\n%s", m->id, m->resume, m->url) < 0)
        return err_set(e, -EINVAL, ERR_NEVER, "the storage gave an impossible mark");
    return 0;
}

static const char *mark_line(const char *text, char *dst, size_t size)
{
    size_t n = strcspn(text, "\n");
    (void)text_format(dst, size, "%.*s", (int)n, text); /* written by upload_mark_write() */
    return text[n] ? text + n + 1 : text + n;
}

void upload_mark_read(const char *text, struct storage_mark *ret)
{
    text = mark_line(text, ret->id, sizeof(ret->id));
    text = mark_line(text, ret->resume, sizeof(ret->resume));
    (void)mark_line(text, ret->url, sizeof(ret->url));
}

const char *upload_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

struct storage_object upload_object(const struct snapshot *s, const struct upload_job *job,
                                    const char *labels)
{
    const char *path = job->annotated ? s->annotated_path : s->path;
    return (struct storage_object){
        .snapshot_id = s->id,
        .annotated = job->annotated,
        .name = upload_base_name(path),
        .path = path,
        .content_type = job->annotated ? "image/jpeg" : snapshot_content_type(s->format),
        .md5 = job->annotated ? "" : s->md5,
        .sha256 = job->annotated ? "" : s->sha256,
        .taken_at = s->event_at,
        .camera = s->camera,
        .device_label = s->device_label,
        .labels = labels,
        .starred = job->starred,
    };
}
