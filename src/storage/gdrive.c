#include "storage/gdrive.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "storage/gdrive_internal.h"
#include "sys/hash.h"
#include "sys/json.h"

#define REFUSED_MS 300000     /* what nobody but a person can mend is looked at so often */
#define NO_BACKUP_MS 86400000 /* nothing is due by time then */
#define FOLDER_LINK "https://drive.google.com/drive/folders/"

const char *const gdrive_archive_names[GDRIVE_ARCHIVE_COUNT + 1] = {"delayed", "at_upload", "off",
                                                                    NULL};

static const struct storage_ops ops;

int gdrive_new(const struct gdrive_options *o, struct storage **ret, struct err *e)
{
    if (!o->folder[0] || strlen(o->folder) >= DRIVE_NAME_MAX)
        return err_set(e, -EINVAL, ERR_NEVER, "the title of Drive's folder has 1 to %d bytes",
                       DRIVE_NAME_MAX - 1);
    struct gdrive *g = xcalloc(1, sizeof(*g));
    g->name = xstrdup(o->name);
    g->folder = xstrdup(o->folder);
    bool shared = o->parent && o->parent[0];
    g->parent = xstrdup(shared ? o->parent : DRIVE_ROOT);
    g->base = xstrdup(o->api_url && o->api_url[0] ? o->api_url : DRIVE_API_URL);
    size_t length = strlen(g->base);
    if (length && g->base[length - 1] == '/')
        g->base[length - 1] = '\0';
    g->archive = o->archive;
    g->multipart_max = o->multipart_max ? o->multipart_max : GDRIVE_MULTIPART_MAX;
    g->archive_batch = o->archive_batch ? o->archive_batch : GDRIVE_ARCHIVE_BATCH;
    g->archive_piece_ms = o->archive_piece_ms ? o->archive_piece_ms : GDRIVE_ARCHIVE_PIECE_MS;
    g->storage = (struct storage){.ops = &ops, .name = g->name};
    (void)pthread_mutex_init(&g->lock, NULL); /* cannot fail with default attributes */
    drive_account_init(&g->account, o->login, g->base, o->rate);
    g->account.shared = shared;
    g->account.stall_ms = o->stall_ms;
    g->backup = o->backup;
    (void)pthread_mutex_init(&g->backup_lock, NULL);
    g->owns_login = o->takes_login;
    drive_folders_init(&g->folders);
    *ret = &g->storage;
    return 0;
}

static struct gdrive *gdrive_of(struct storage *s)
{
    return container_of(s, struct gdrive, storage);
}

static void gdrive_free(struct storage *s)
{
    if (!s)
        return;
    struct gdrive *g = gdrive_of(s);
    drive_folders_done(&g->folders);
    if (g->owns_login)
        google_login_close(g->account.login);
    drive_account_done(&g->account);
    token_backup_free(g->backup);
    (void)pthread_mutex_destroy(&g->backup_lock);
    (void)pthread_mutex_destroy(&g->lock);
    free(g->name);
    free(g->folder);
    free(g->parent);
    free(g->base);
    free(g);
}

static void set_link(struct gdrive *g, const char *link)
{
    (void)pthread_mutex_lock(&g->lock);
    (void)text_copy(g->link, sizeof(g->link), link);
    (void)pthread_mutex_unlock(&g->lock);
}

/* ---- the copy of the login ---- */

static bool is_logged_in(const struct gdrive *g)
{
    struct google_login_state login;
    google_login_describe(g->account.login, &login);
    return login.kind != GOOGLE_LOGIN_NONE;
}

/* The login of the configuration is the older one: while nobody knows whether there is a copy, it
 * would take its place for good. Under the lock. */
static void place_login(struct gdrive *g)
{
    if (g->placed || (!is_logged_in(g) && !token_backup_answered(g->backup)))
        return;
    google_login_place(g->account.login);
    g->placed = true;
}

/* Before anybody asks for a token: one that is missing may come from its copy. */
static void restore_login(struct gdrive *g, struct http_client *c)
{
    if (!g->backup)
        return;
    (void)pthread_mutex_lock(&g->backup_lock);
    if (!g->placed && !is_logged_in(g))
        (void)token_backup_tend(g->backup, c); /* it keeps what went wrong */
    place_login(g);
    (void)pthread_mutex_unlock(&g->backup_lock);
}

static int64_t gdrive_tend(struct storage_session *w)
{
    struct gdrive *g = w->g;
    if (!g->backup)
        return NO_BACKUP_MS;
    (void)pthread_mutex_lock(&g->backup_lock);
    uint64_t now = google_login_generation(g->account.login);
    if (now != g->tended)
        token_backup_hurry(g->backup);
    g->tended = now;
    int64_t again_ms = token_backup_tend(g->backup, w->link.client);
    place_login(g);
    (void)pthread_mutex_unlock(&g->backup_lock);
    return again_ms;
}

static uint64_t gdrive_generation(struct storage *s)
{
    return google_login_generation(gdrive_of(s)->account.login);
}

static void gdrive_reload(struct storage *s)
{
    google_login_reload(gdrive_of(s)->account.login);
}

/* ---- sessions ---- */

static int session_new(struct storage *s, int stop_fd, const struct storage_memory *memory,
                       struct storage_session **ret, struct err *e)
{
    struct storage_session *w = xcalloc(1, sizeof(*w));
    w->g = gdrive_of(s);
    w->memory = *memory;
    w->link.account = &w->g->account;
    w->link.stop_fd = stop_fd;
    int r = http_client_new(stop_fd, &w->link.client, e);
    if (r < 0) {
        free(w);
        return r;
    }
    restore_login(w->g, w->link.client);
    /* Events carry the folder's address from the start on, also while Drive is away. */
    char id[DRIVE_ID_MAX], link[STORAGE_ID_MAX];
    if (drive_folder_remembered(&w->memory, w->g->parent, w->g->folder, id, NULL) == 0) {
        (void)text_format(link, sizeof(link), FOLDER_LINK "%s", id);
        set_link(w->g, link);
    }
    *ret = w;
    return 0;
}

static void session_free(struct storage_session *w)
{
    if (!w)
        return;
    gdrive_run_done(&w->run);
    http_client_free(w->link.client);
    free(w);
}

/* ---- folders ---- */

int gdrive_for_all(int r, struct storage_failure *f, struct err *e)
{
    if (r != -EINVAL && r != -EPERM)
        return r;
    if (f->trouble == STORAGE_WELL)
        *f = (struct storage_failure){.trouble = STORAGE_LOGIN, .pause_ms = REFUSED_MS};
    if (e) {
        e->code = -EACCES;
        e->retry = ERR_LATER;
    }
    return -EACCES;
}

/* Asks once which shared drive the parent is in: lists have to name it. */
static int learn_drive(struct storage_session *w, struct storage_failure *f, struct err *e)
{
    struct gdrive *g = w->g;
    struct drive_file parent;
    (void)pthread_mutex_lock(&g->lock);
    bool known = g->drive_known;
    (void)pthread_mutex_unlock(&g->lock);
    if (known || !g->account.shared)
        return 0;
    int r = drive_get(&w->link, g->parent, &parent, f, e);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&g->account.lock);
    if (drive_id_plain(parent.drive))
        (void)text_copy(g->account.drive, sizeof(g->account.drive), parent.drive);
    (void)pthread_mutex_unlock(&g->account.lock);
    (void)pthread_mutex_lock(&g->lock);
    g->drive_known = true;
    (void)pthread_mutex_unlock(&g->lock);
    return 0;
}

static bool in_shared_drive(struct gdrive *g)
{
    (void)pthread_mutex_lock(&g->account.lock);
    bool shared = g->account.drive[0] != '\0';
    (void)pthread_mutex_unlock(&g->account.lock);
    return shared;
}

int gdrive_top_folder(struct storage_session *w, bool doubt, char ret[DRIVE_ID_MAX],
                      struct storage_failure *f, struct err *e)
{
    char link[STORAGE_ID_MAX] = "";
    int r = learn_drive(w, f, e);
    if (r == 0)
        r = drive_folder_need(&w->g->folders, &w->link, &w->memory, w->g->parent, w->g->folder,
                              doubt, ret, link, f, e);
    if (r == -ENOENT && w->g->account.shared) {
        *f = (struct storage_failure){.trouble = STORAGE_LOGIN};
        return err_set(e, -EACCES, ERR_LATER,
                       "[gdrive] parent '%s' is not there, or not visible to this program",
                       w->g->parent);
    }
    if (r < 0)
        return gdrive_for_all(r, f, e);
    if (!link[0])
        (void)text_format(link, sizeof(link), FOLDER_LINK "%s", ret);
    set_link(w->g, link);
    return 0;
}

static int need_day(struct storage_session *w, const char *iso, bool doubt, char ret[DRIVE_ID_MAX],
                    struct storage_failure *f, struct err *e)
{
    const struct {
        int at, length;
    } parts[] = {{0, 4}, {5, 2}, {8, 2}}; /* of 2026-01-02 */
    char parent[DRIVE_ID_MAX];
    int r = gdrive_top_folder(w, doubt, parent, f, e);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(parts); i++) {
        char name[8];
        (void)text_format(name, sizeof(name), "%.*s", parts[i].length, iso + parts[i].at);
        r = drive_folder_need(&w->g->folders, &w->link, &w->memory, parent, name, doubt, ret, NULL,
                              f, e);
        (void)text_copy(parent, sizeof(parent), ret);
    }
    return gdrive_for_all(r, f, e);
}

int gdrive_day_folder(struct storage_session *w, struct wall_time day, bool doubt,
                      char ret[DRIVE_ID_MAX], struct storage_failure *f, struct err *e)
{
    char iso[WALL_ISO_MAX];
    (void)wall_format_iso(day, false, iso);
    int r = need_day(w, iso, doubt, ret, f, e);
    if (r == -ENOENT && !doubt) /* one of those above it was removed within the last minute */
        r = need_day(w, iso, true, ret, f, e);
    return r;
}

/* ---- ids ---- */

bool gdrive_take_fresh(struct gdrive *g, const char *id)
{
    uint64_t digest = hash_64(id, strlen(id));
    bool found = false;
    (void)pthread_mutex_lock(&g->lock);
    for (int i = 0; i < GDRIVE_FRESH_KEPT && !found; i++) {
        found = g->fresh[i] == digest;
        if (found)
            g->fresh[i] = 0;
    }
    (void)pthread_mutex_unlock(&g->lock);
    return found;
}

/* How many ids there are. Under the lock. */
static int count_ids(struct gdrive *g, uint64_t generation)
{
    if (g->ids_login != generation)
        g->id_count = 0; /* another account takes none of them */
    g->ids_login = generation;
    return g->id_count;
}

/* Under the lock, when there is one. */
static void draw_id(struct gdrive *g, char ret[DRIVE_ID_MAX])
{
    (void)text_copy(ret, DRIVE_ID_MAX, g->ids[--g->id_count]);
    g->fresh[g->fresh_next] = hash_64(ret, strlen(ret));
    g->fresh_next = (g->fresh_next + 1) % GDRIVE_FRESH_KEPT;
}

/* Takes an id from those that we have; false when there is none. */
static bool take_id(struct gdrive *g, char ret[DRIVE_ID_MAX])
{
    uint64_t generation = google_login_generation(g->account.login);
    (void)pthread_mutex_lock(&g->lock);
    bool found = count_ids(g, generation) > 0;
    if (found)
        draw_id(g, ret);
    (void)pthread_mutex_unlock(&g->lock);
    return found;
}

static int fetch_ids(struct storage_session *w, struct storage_failure *f, struct err *e)
{
    struct gdrive *g = w->g;
    AUTO_FREE char(*ids)[DRIVE_ID_MAX] = xcalloc(GDRIVE_IDS_ASKED, sizeof(*ids));
    uint64_t generation = google_login_generation(g->account.login);
    int count = drive_new_ids(&w->link, "files", GDRIVE_IDS_ASKED, ids, f, e);
    if (count < 0)
        return gdrive_for_all(count, f, e);
    (void)pthread_mutex_lock(&g->lock); /* another session may have fetched, too: then some go */
    (void)count_ids(g, generation);
    for (int i = 0; i < count && g->id_count < GDRIVE_IDS_KEPT; i++)
        (void)text_copy(g->ids[g->id_count++], DRIVE_ID_MAX, ids[i]);
    (void)pthread_mutex_unlock(&g->lock);
    return 0;
}

void gdrive_forget_ids(struct gdrive *g)
{
    (void)pthread_mutex_lock(&g->lock);
    g->id_count = 0;
    (void)pthread_mutex_unlock(&g->lock);
}

int gdrive_new_id(struct storage_session *w, char ret[DRIVE_ID_MAX], struct storage_failure *f,
                  struct err *e)
{
    while (!take_id(w->g, ret)) {
        int r = fetch_ids(w, f, e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* While ids are left, so that no upload waits for an answer. */
static int fill_stock(struct storage_session *w, struct storage_failure *f, struct err *e)
{
    struct gdrive *g = w->g;
    uint64_t generation = google_login_generation(g->account.login);
    (void)pthread_mutex_lock(&g->lock);
    bool low = count_ids(g, generation) < GDRIVE_IDS_LOW;
    (void)pthread_mutex_unlock(&g->lock);
    return low ? fetch_ids(w, f, e) : 0;
}

static int gdrive_reserve_stocked(struct storage *s, struct storage_mark *marks, int count)
{
    struct gdrive *g = gdrive_of(s);
    uint64_t generation = google_login_generation(g->account.login);
    (void)pthread_mutex_lock(&g->lock);
    bool enough = count_ids(g, generation) >= count;
    for (int i = 0; i < count && enough; i++) {
        char id[DRIVE_ID_MAX];
        draw_id(g, id);
        marks[i] = (struct storage_mark){0};
        (void)text_copy(marks[i].id, sizeof(marks[i].id), id);
    }
    (void)pthread_mutex_unlock(&g->lock);
    return enough ? 0 : -EAGAIN;
}

static int gdrive_reserve(struct storage_session *w, const struct storage_object *objects,
                          struct storage_mark *marks, int count, struct storage_failure *f,
                          struct err *e)
{
    (void)objects;
    *f = (struct storage_failure){0};
    if (count == 0)
        return fill_stock(w, f, e);
    for (int i = 0; i < count; i++) {
        char id[DRIVE_ID_MAX];
        int r = gdrive_new_id(w, id, f, e);
        if (r < 0)
            return gdrive_note_result(w->g, r, f, e);
        marks[i] = (struct storage_mark){0};
        (void)text_copy(marks[i].id, sizeof(marks[i].id), id);
    }
    return 0;
}

/* ---- the smaller operations ---- */

int gdrive_note_result(struct gdrive *g, int r, const struct storage_failure *f,
                       const struct err *e)
{
    if (r == -ECANCELED || (r < 0 && f->trouble == STORAGE_WELL))
        return r;
    (void)pthread_mutex_lock(&g->lock);
    (void)text_copy(g->error, sizeof(g->error), r < 0 && e ? e->text : "");
    (void)pthread_mutex_unlock(&g->lock);
    return r;
}

/* Behind a file that is not shown: to a client of another Cloud project nothing of ours exists, and
 * the files are there all the same. */
static int check_folder_shown(struct storage_session *w, struct storage_failure *f, struct err *e)
{
    char id[DRIVE_ID_MAX];
    struct drive_file top;
    struct storage_failure failure = {0};
    struct err why = {0};
    if (w->folder_shown ||
        drive_folder_remembered(&w->memory, w->g->parent, w->g->folder, id, NULL) < 0)
        return 0;
    int r = drive_get(&w->link, id, &top, &failure, &why);
    if (r == 0) {
        w->folder_shown = true;
        return 0;
    }
    *f = failure;
    if (r != -ENOENT && r != -EPERM) {
        if (e)
            *e = why;
        return r;
    }
    f->trouble = STORAGE_LOGIN;
    return err_set(e, -EACCES, ERR_LATER,
                   "neither the file nor the folder '%.80s' is shown to this login: is its client "
                   "one of another Cloud project, or the account another one? If the folder was "
                   "deleted for good, let the daemon upload a picture first",
                   w->g->folder);
}

static int gdrive_verify(struct storage_session *w, const struct storage_object *o,
                         const struct storage_mark *mark, struct storage_failure *f, struct err *e)
{
    struct drive_file file;
    *f = (struct storage_failure){0};
    int r = drive_get(&w->link, mark->id, &file, f, e);
    if (r == -EPERM) /* of this file alone; others may be ours */
        *f = (struct storage_failure){.trouble = STORAGE_WELL};
    if (r == -ENOENT) {
        int shown = check_folder_shown(w, f, e);
        r = shown < 0 ? shown : r;
    }
    if (r < 0)
        return gdrive_note_result(w->g, r, f, e);
    if (file.trashed)
        return err_set(e, -ENOENT, ERR_NEVER, "the file lies in Drive's trash");
    if (file.size != (int64_t)o->bytes->size || strcmp(file.md5, o->md5) != 0)
        return err_set(e, -EBADMSG, ERR_NEVER,
                       "Drive has %lld bytes of MD5 %s, the picture has %zu of MD5 %s",
                       (long long)file.size, file.md5, o->bytes->size, o->md5);
    return 0;
}

int gdrive_set_star(struct storage_session *w, const char *id, bool starred,
                    struct storage_failure *f, struct err *e)
{
    struct drive_file file;
    return drive_patch(&w->link, starred ? "star file" : "unstar file", id,
                       starred ? "{\"starred\":true}" : "{\"starred\":false}", NULL, NULL, &file, f,
                       e);
}

static int gdrive_star(struct storage_session *w, const struct storage_mark *mark, bool starred,
                       struct storage_failure *f, struct err *e)
{
    *f = (struct storage_failure){0};
    int r = gdrive_set_star(w, mark->id, starred, f, e);
    /* Gone, or not ours any more: no repeat will help, and other stars must not wait for it. */
    if (r == -ENOENT || r == -EPERM) {
        *f = (struct storage_failure){.trouble = STORAGE_WELL};
        if (e)
            e->retry = ERR_NEVER;
    }
    return gdrive_note_result(w->g, r, f, e);
}

static int number_of(const json_t *j, const char *name, int64_t *ret)
{
    const char *s = json_string_value(json_object_get(j, name));
    return s ? parse_int64(s, strlen(s), 0, INT64_MAX, ret) : -ENODATA;
}

static int gdrive_free_bytes(struct storage_session *w, int64_t *ret, struct err *e)
{
    static const char *const params[] = {"fields", "storageQuota(limit,usage)", NULL};
    struct storage_failure f = {0};
    AUTO_DONE(dynbuf) url = {0};
    int r = learn_drive(w, &f, e);
    if (r < 0)
        return r;
    if (in_shared_drive(w->g))
        return err_set(e, -ENODATA, ERR_NEVER, "a shared drive does not tell its room");
    dynbuf_init(&url, 1024);
    if (drive_url(&url, w->g->base, "/drive/v3/about", params) < 0)
        return err_set(e, -EINVAL, ERR_NEVER, "the address of Drive is too long");
    const struct drive_ask ask = {.what = "ask for free room", .url = dynbuf_str(&url)};
    AUTO_DONE(drive_reply) reply = {0};
    r = drive_call(&w->link, &ask, &reply, &f, e);
    if (r < 0)
        return r;
    AUTO_JSON json_t *j = NULL;
    if (!reply.body ||
        js_parse((const char *)reply.body->data, reply.body->size, DRIVE_ANSWER_MAX, &j, e) < 0)
        return drive_nonsense(&f, e, ask.what);
    const json_t *quota = json_object_get(j, "storageQuota");
    int64_t limit, usage;
    if (number_of(quota, "limit", &limit) < 0 || number_of(quota, "usage", &usage) < 0)
        return err_set(e, -ENODATA, ERR_NEVER, "the account has no limit");
    *ret = MAX(limit - usage, (int64_t)0);
    return 0;
}

static void gdrive_describe(struct storage *s, struct storage_state *ret)
{
    struct gdrive *g = gdrive_of(s);
    struct google_login_state login = {0};
    google_login_describe(g->account.login, &login);
    struct token_backup_state backup = {0};
    if (g->backup)
        token_backup_describe(g->backup, &backup);
    *ret = (struct storage_state){0};
    char title[128];
    (void)text_printable(g->folder, strlen(g->folder), title, sizeof(title));
    /* What does not fit is cut: it is for people. */
    (void)text_format(ret->text, sizeof(ret->text), "Drive folder '%.*s': %.*s%s%.110s",
                      g->backup ? 40 : 100, title, g->backup ? 80 : 130, login.text,
                      g->backup ? "; " : "", backup.text);
    (void)pthread_mutex_lock(&g->lock);
    (void)text_copy(ret->error, sizeof(ret->error),
                    login.error[0] ? login.error
                    : g->error[0]  ? g->error
                                   : backup.error);
    (void)text_copy(ret->url, sizeof(ret->url), g->link);
    (void)pthread_mutex_unlock(&g->lock);
}

static const struct storage_ops ops = {
    .kind = "gdrive",
    .session_new = session_new,
    .session_free = session_free,
    .reserve = gdrive_reserve,
    .reserve_stocked = gdrive_reserve_stocked,
    .put = gdrive_put,
    .verify = gdrive_verify,
    .archive = gdrive_archive_run,
    .star = gdrive_star,
    .tend = gdrive_tend,
    .generation = gdrive_generation,
    .reload = gdrive_reload,
    .free_bytes = gdrive_free_bytes,
    .describe = gdrive_describe,
    .free = gdrive_free,
};
