#include "ftp/ftp_jail.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "ftp/ftp_fresh.h"
#include "ftp/ftp_jail_internal.h"
#include "picture/jpeg_end.h"

/* An upload from its first byte to its name.
 *
 * The bytes go to a hidden file beside the final name, so nobody sees half a picture, and what was
 * there stays whole until it is replaced. ftp_upload_finish() then does for all uploads that wait
 * at the same time, step by step: start the writing of each file, sync each, rename each, sync each
 * folder once. Mostly the first sync of a step waits for the file system's journal, and the others
 * find their work done with it.
 *
 * Rejected: an unnamed file (O_TMPFILE) with linkat() leaves nothing after a crash, but cannot
 * replace a file that is there, and not every file system has it. syncfs() syncs strangers' files,
 * too, and takes as long as they want. */

/* The free space is looked at each time so much was written, by all uploads of a jail together. */
#define SPACE_CHECK_BYTES (4 * 1024 * 1024)
/* Of a large upload the disk gets its share while the rest is coming, so that the end is short. */
#define WRITE_BEHIND_BYTES (4 * 1024 * 1024)
/* A folder may be cleaned away between finding it and standing in it. */
#define OPEN_TRIES 8
#define COPY_BLOCK (64 * 1024)
#define RANDOM_DIGITS 16
#define TEMPORARY_MAX (sizeof(FTP_HIDDEN_PREFIX) + RANDOM_DIGITS)
#define UNIQUE_DIGITS 8
#define RANDOM_STOCK 256 /* as much as getrandom() gives in one piece */

enum upload_state { UPLOAD_OPEN, UPLOAD_FAILED, UPLOAD_FINISHED };

struct ftp_upload {
    struct ftp_jail *jail;
    enum upload_state state;
    int failure; /* why UPLOAD_FAILED */
    int fd;
    struct jail_place place; /* the final name */
    struct ftp_tally_folder folder;
    char temporary[TEMPORARY_MAX]; /* "" before there is one */
    struct ftp_leave leave;
    bool keeps_all;    /* what is replaced is contained in the new file */
    bool folder_tried; /* its folder was synced, with this result */
    int folder_code;
    bool entry_held;        /* it will be one more entry of its folder */
    int64_t held;           /* bytes of the quota */
    int64_t kept;           /* bytes that were there before */
    int64_t announced;      /* 0 = nothing, or it does not bind */
    int64_t written_behind; /* up to here the disk was told to begin */
    struct jpeg_end end;    /* of what came, when nothing was kept */
    struct ftp_file file;
};

static int open_in_folder(struct ftp_upload *u, const struct ftp_upload_options *o, struct err *e);
static int look_at_target(struct ftp_upload *u, const struct ftp_upload_options *o,
                          int64_t *ret_size, struct err *e);
static int make_unique(char name[FTP_NAME_MAX + 1], struct err *e);
static int check_limits(struct ftp_upload *u, const struct ftp_upload_options *o,
                        int64_t target_size, struct err *e);
static int make_temporary(struct ftp_upload *u, struct err *e);
static int keep_beginning(struct ftp_upload *u, int64_t size, struct err *e);
static int copy_bytes(int from, int to, int64_t size);
static int hold(struct ftp_upload *u, int64_t bytes, struct err *e);
static int check_size(const struct ftp_upload *u, int64_t more, struct err *e);
static int check_space_by_and_by(struct ftp_upload *u, int64_t more, struct err *e);
static void write_behind(struct ftp_upload *u);
static void follow_from_disk(const struct ftp_upload *u, struct jpeg_end *end);
static void start_writing(struct ftp_upload *const *uploads, int count, const int *codes);
static void sync_file(struct ftp_upload *u, int *code, struct err *e);
static int failed_before(const struct ftp_upload *u, struct err *e);
static void put_name(struct ftp_upload *u, int *code, struct err *e);
static void put_name_locked(struct ftp_upload *u, int *code, struct err *e);
static void sync_folders(struct ftp_upload *const *uploads, int count, int *codes,
                         struct err *errs);
static void end(struct ftp_upload *u, int code);
static void take_back(struct ftp_upload *u);
static void discard(struct ftp_upload *u);

/* ---- opening ---- */

int ftp_upload_open(struct ftp_jail *j, const struct ftp_upload_options *o, struct ftp_upload **ret,
                    struct err *e)
{
    struct ftp_upload *u = xcalloc(1, sizeof(*u));
    u->jail = ftp_jail_ref(j);
    u->fd = u->place.folder_fd = -1;
    u->leave = o->leave;
    u->announced = o->exact ? o->announced : 0;
    int r = o->at_once && o->offset != 0 ? -EAGAIN : -ENOENT;
    for (int i = 0; r == -ENOENT && i < OPEN_TRIES; i++)
        r = open_in_folder(u, o, e);
    if (r < 0) {
        ftp_upload_close(u);
        if (r == -EAGAIN && o->at_once)
            return r; /* not the end of the story */
        return err_prefix(e, "store %s", o->path), r;
    }
    err_clear(e); /* of an earlier try */
    *ret = u;
    return 0;
}

static int open_in_folder(struct ftp_upload *u, const struct ftp_upload_options *o, struct err *e)
{
    int64_t target_size = -1;
    discard(u); /* of an earlier try */
    int r = o->at_once ? jail_locate_at_once(u->jail, o->path, &u->place, e)
                       : jail_locate(u->jail, o->path, true, &u->place, e);
    if (r < 0) {
        u->place.folder_fd = -1;
        return r;
    }
    r = ftp_tally_folder_of(u->place.folder_fd, &u->folder);
    if (r < 0)
        return err_errno(e, r, "folder %s", u->place.folder);
    if (o->unique)
        r = make_unique(u->place.name, e);
    if (r == 0)
        r = look_at_target(u, o, &target_size, e);
    if (r == 0)
        r = check_limits(u, o, target_size, e);
    if (r == 0)
        r = make_temporary(u, e);
    int64_t kept = o->offset < 0 ? MAX(target_size, 0) : o->offset;
    if (r == 0 && kept > 0)
        r = keep_beginning(u, kept, e);
    u->keeps_all = kept > 0 && kept >= target_size;
    return r;
}

/* *ret_size is the size of the file that is there, -1 when there is none. */
static int look_at_target(struct ftp_upload *u, const struct ftp_upload_options *o,
                          int64_t *ret_size, struct err *e)
{
    struct stat st;
    if (strcmp(u->place.name, ".") == 0)
        return err_set(e, -EISDIR, ERR_NEVER, "a folder");
    int r = jail_look(&u->place, &st, e);
    if (r < 0 && r != -ENOENT)
        return r;
    err_clear(e); /* that there is none is no failure */
    if (r == 0 && S_ISDIR(st.st_mode))
        return err_set(e, -EISDIR, ERR_NEVER, "a folder of that name is there");
    if (r == 0 && !jail_may_leave(&o->leave, &st))
        return err_set(e, -EEXIST, ERR_NEVER, "a file of that name is there");
    int64_t size = r == 0 ? st.st_size : -1;
    if (o->offset > MAX(size, 0))
        return err_set(e, -EINVAL, ERR_NEVER, "to go on at byte %lld, but %lld are there",
                       (long long)o->offset, (long long)MAX(size, 0));
    *ret_size = size;
    return 0;
}

/* Asked for by the hundred: a call costs more than the few bytes of a name. */
static int random_hex(char *ret, size_t digits, struct err *e)
{
    static _Thread_local uint8_t bytes[RANDOM_STOCK];
    static _Thread_local size_t left;
    if (left < digits / 2) {
        if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
            return err_errno(e, -errno, "random numbers");
        left = sizeof(bytes);
    }
    left -= digits / 2;
    text_hex(bytes + left, digits / 2, ret);
    return 0;
}

/* "a.jpg" -> "a-1f3a9c2e.jpg". Always: that a name is free now says nothing about the moment when
 * the upload ends, and the client is told the name before. */
static int make_unique(char name[FTP_NAME_MAX + 1], struct err *e)
{
    char digits[UNIQUE_DIGITS + 1], whole[FTP_NAME_MAX + 1];
    int r = random_hex(digits, UNIQUE_DIGITS, e);
    if (r < 0)
        return r;
    jail_name_with(name, "-", digits, whole);
    (void)text_copy(name, FTP_NAME_MAX + 1, whole); /* of the same size */
    return 0;
}

/* What can be known before the first byte. */
static int check_limits(struct ftp_upload *u, const struct ftp_upload_options *o,
                        int64_t target_size, struct err *e)
{
    int64_t kept = o->offset < 0 ? MAX(target_size, 0) : o->offset;
    bool replaces = target_size >= 0 && !jail_keeps(u->place.name, kept >= target_size && kept > 0);
    int64_t announced = MAX(o->announced, 0);
    int r = check_size(u, MAX(kept, announced), e);
    if (r == 0)
        r = jail_check_space(u->jail, announced, e);
    if (r == 0 && replaces)
        r = hold(u, -target_size, e);
    if (r == 0) /* what does not fit is refused now, and held as it comes */
        r = hold(u, MAX(kept, announced), e);
    if (r == 0)
        r = hold(u, kept - MAX(kept, announced), e);
    if (r == 0 && !replaces) {
        r = ftp_tally_hold_entry(u->jail->tally, &u->folder, u->place.folder_fd, e);
        u->entry_held = r == 0;
    }
    return r;
}

static int hold(struct ftp_upload *u, int64_t bytes, struct err *e)
{
    int r = ftp_tally_hold_bytes(u->jail->tally, bytes, e);
    if (r == 0)
        u->held += bytes;
    return r;
}

static int check_size(const struct ftp_upload *u, int64_t more, struct err *e)
{
    if (u->jail->size_max <= 0 || more <= u->jail->size_max - u->file.size)
        return 0;
    return err_set(e, -EFBIG, ERR_NEVER, "larger than the limit of %lld bytes (size_max)",
                   (long long)u->jail->size_max);
}

static int make_temporary(struct ftp_upload *u, struct err *e)
{
    char name[TEMPORARY_MAX] = FTP_HIDDEN_PREFIX;
    int r = random_hex(name + strlen(name), RANDOM_DIGITS, e);
    if (r < 0)
        return r;
    u->fd = openat(u->place.folder_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                   JAIL_FILE_MODE);
    if (u->fd < 0)
        return err_errno(e, jail_code(-errno), "create a file in %s", u->place.folder);
    (void)text_copy(u->temporary, sizeof(u->temporary), name);          /* the same size */
    (void)text_copy(u->file.name, sizeof(u->file.name), u->place.name); /* the rest at the end */
    return 0;
}

/* Copies what is there, so that the visible file is never half-changed. */
static int keep_beginning(struct ftp_upload *u, int64_t size, struct err *e)
{
    struct stat st;
    AUTO_CLOSE int fd =
        openat(u->place.folder_fd, u->place.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, errno == ENOENT ? -EINVAL : jail_code(-errno), "what is there");
    if (!S_ISREG(st.st_mode))
        return err_set(e, -EACCES, ERR_NEVER, "what is there is no file");
    int r = copy_bytes(fd, u->fd, size);
    if (r < 0)
        return err_errno(e, r, "copy what is there");
    u->kept = u->file.size = size;
    return 0;
}

static int copy_by_hand(int from, int to, int64_t size);

/* By the kernel, which shares the blocks where the file system can. -EINVAL when there is less. */
static int copy_bytes(int from, int to, int64_t size)
{
    while (size > 0) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, (size_t)size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP))
            return copy_by_hand(from, to, size);
        if (n < 0)
            return -errno;
        if (n == 0)
            return copy_by_hand(from, to, size); /* some file systems say so of a file with bytes */
        size -= n;
    }
    return 0;
}

static int copy_by_hand(int from, int to, int64_t size)
{
    AUTO_FREE uint8_t *block = xmalloc(COPY_BLOCK);
    while (size > 0) {
        ssize_t n = read(from, block, (size_t)MIN(size, (int64_t)COPY_BLOCK));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EINVAL;
        int r = fs_write_all(to, block, (size_t)n, NULL);
        if (r < 0)
            return r;
        size -= n;
    }
    return 0;
}

const struct ftp_file *ftp_upload_file(const struct ftp_upload *u)
{
    return &u->file;
}

bool ftp_upload_is_durable(const struct ftp_upload *u)
{
    return u->jail->sync;
}

/* ---- receiving ---- */

int ftp_upload_write(struct ftp_upload *u, const void *bytes, size_t size, struct err *e)
{
    assert(u->state != UPLOAD_FINISHED);
    int64_t more = (int64_t)size;
    if (u->state == UPLOAD_FAILED)
        return err_set(e, u->failure, ERR_NEVER, "store %s: failed before", u->place.name);
    int r = check_size(u, more, e);
    if (r == 0)
        r = hold(u, more, e);
    if (r == 0)
        r = check_space_by_and_by(u, more, e);
    if (r == 0)
        r = fs_write_all(u->fd, bytes, size, e);
    if (r < 0) {
        u->state = UPLOAD_FAILED;
        u->failure = r;
        return err_prefix(e, "store %s/%s", u->place.folder, u->place.name), r;
    }
    if (u->kept == 0)
        jpeg_end_feed(&u->end, bytes, size);
    u->file.size += more;
    if (u->jail->sync && u->file.size - u->written_behind >= WRITE_BEHIND_BYTES)
        write_behind(u);
    return 0;
}

static int check_space_by_and_by(struct ftp_upload *u, int64_t more, struct err *e)
{
    struct ftp_jail *j = u->jail;
    if (atomic_fetch_add(&j->unchecked, more) + more < SPACE_CHECK_BYTES)
        return 0;
    atomic_store(&j->unchecked, 0);
    return jail_check_space(j, more, e);
}

/* Failures come back with the sync of the end; this only begins. */
static void write_behind(struct ftp_upload *u)
{
    (void)sync_file_range(u->fd, u->written_behind, u->file.size - u->written_behind,
                          SYNC_FILE_RANGE_WRITE);
    u->written_behind = u->file.size;
}

bool ftp_upload_is_cut(const struct ftp_upload *u)
{
    struct jpeg_end all = {0};
    if (u->kept == 0)
        return jpeg_end_is_cut(&u->end);
    follow_from_disk(u, &all);
    return jpeg_end_is_cut(&all);
}

bool ftp_upload_is_short(const struct ftp_upload *u)
{
    return u->file.size < u->announced && !jpeg_end_is_whole(&u->end);
}

int ftp_upload_check_end(const struct ftp_upload *u, struct err *e)
{
    const char *name = u->place.name;
    long long size = (long long)u->file.size;
    if (ftp_upload_is_cut(u))
        return err_set(e, -EBADMSG, ERR_NOW, "store %s: a JPEG without its end, %lld bytes", name,
                       size);
    if (ftp_upload_is_short(u))
        return err_set(e, -EBADMSG, ERR_NOW, "store %s: %lld bytes, and more were announced", name,
                       size);
    return 0;
}

/* What was kept never passed through our hands. */
static void follow_from_disk(const struct ftp_upload *u, struct jpeg_end *end)
{
    AUTO_FREE uint8_t *block = xmalloc(COPY_BLOCK);
    int64_t at = 0;
    while (at < u->file.size && !jpeg_end_is_known(end)) {
        ssize_t n = pread(u->fd, block, COPY_BLOCK, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* cut, for all we know */
        jpeg_end_feed(end, block, (size_t)n);
        at += n;
    }
}

/* ---- the end ---- */

static struct err *error_of(struct err *errs, int i)
{
    return errs != NULL ? &errs[i] : NULL;
}

void ftp_upload_finish(struct ftp_upload *const *uploads, int count, int *codes, struct err *errs)
{
    for (int i = 0; i < count; i++)
        codes[i] = failed_before(uploads[i], error_of(errs, i));
    FAULT_POINT("ftp-before-sync");
    start_writing(uploads, count, codes);
    for (int i = 0; i < count; i++)
        sync_file(uploads[i], &codes[i], error_of(errs, i));
    FAULT_POINT("ftp-before-rename");
    for (int i = 0; i < count; i++)
        put_name(uploads[i], &codes[i], error_of(errs, i));
    FAULT_POINT("ftp-before-folder-sync");
    sync_folders(uploads, count, codes, errs);
    FAULT_POINT("ftp-after-folder-sync");
    for (int i = 0; i < count; i++)
        end(uploads[i], codes[i]);
}

int ftp_upload_finish_at_once(struct ftp_upload *u, struct err *e)
{
    int code = failed_before(u, e);
    FAULT_POINT("ftp-before-sync");
    sync_file(u, &code, e);
    FAULT_POINT("ftp-before-rename");
    if (code == 0 && !jail_names_try_lock(u->leave.one.set))
        return -EAGAIN;
    if (code == 0)
        put_name_locked(u, &code, e);
    FAULT_POINT("ftp-before-folder-sync");
    u->folder_tried = code == 0;
    if (code == 0)
        code = jail_sync_folder(u->jail, u->place.folder_fd, e);
    if (code < 0 && u->folder_tried)
        err_prefix(e, "store %s/%s", u->place.folder, u->place.name);
    FAULT_POINT("ftp-after-folder-sync");
    end(u, code);
    return code;
}

static int failed_before(const struct ftp_upload *u, struct err *e)
{
    assert(u->state != UPLOAD_FINISHED);
    return u->state == UPLOAD_FAILED
               ? err_set(e, u->failure, ERR_NEVER, "store %s: failed before", u->place.name)
               : 0;
}

static void start_writing(struct ftp_upload *const *uploads, int count, const int *codes)
{
    for (int i = 0; i < count; i++)
        if (codes[i] == 0 && uploads[i]->jail->sync && count > 1)
            write_behind(uploads[i]);
}

/* After a failed fsync the page cache says nothing about the disk: never try it again. */
static void sync_file(struct ftp_upload *u, int *code, struct err *e)
{
    if (*code == 0 && u->jail->sync && fsync(u->fd) < 0)
        *code = err_errno(e, -errno, "store %s/%s: sync", u->place.folder, u->place.name);
}

static void put_name(struct ftp_upload *u, int *code, struct err *e)
{
    if (*code < 0)
        return;
    jail_names_lock(u->leave.one.set);
    put_name_locked(u, code, e);
}

/* Unlocks the names. */
static void put_name_locked(struct ftp_upload *u, int *code, struct err *e)
{
    struct jail_replaced old = {0};
    struct stat st;
    *code = jail_put_name(u->place.folder_fd, u->temporary, &u->place, &u->leave, u->keeps_all,
                          &old, e);
    jail_names_unlock();
    if (*code == -ENOENT) /* somebody took our file away: whatever the reason, it is not safe */
        *code = -EIO;
    if (*code < 0) {
        err_prefix(e, "store %s/%s", u->place.folder, u->place.name);
        return;
    }
    u->temporary[0] = '\0';
    if (fstat(u->fd, &st) == 0)
        jail_describe(u->place.name, &st, &u->file);
    ftp_tally_let_bytes(u->jail->tally, u->held, u->file.size - old.gone_bytes);
    u->held = 0;
    if (u->entry_held)
        ftp_tally_let_entry(u->jail->tally, &u->folder, old.gone ? 0 : 1);
    else if (!old.gone)
        ftp_tally_grow_entries(u->jail->tally, &u->folder, 1);
    u->entry_held = false;
}

static bool same_folder(const struct ftp_upload *a, const struct ftp_upload *b)
{
    return a->folder.inode == b->folder.inode && a->folder.device == b->folder.device;
}

/* Once for each folder; what that says goes for all in it. */
static void sync_folders(struct ftp_upload *const *uploads, int count, int *codes, struct err *errs)
{
    for (int i = 0; i < count; i++) {
        struct ftp_upload *u = uploads[i];
        int k = 0;
        if (codes[i] < 0 || !u->jail->sync)
            continue;
        while (k < i && !(uploads[k]->folder_tried && same_folder(uploads[k], u)))
            k++;
        u->folder_tried = true;
        u->folder_code =
            k < i ? uploads[k]->folder_code : jail_sync_folder(u->jail, u->place.folder_fd, NULL);
        codes[i] = u->folder_code;
        if (codes[i] == 0)
            codes[i] = ftp_fresh_wait(u->jail->root, u->place.folder);
        if (codes[i] < 0)
            (void)err_errno(error_of(errs, i), codes[i], "store %s/%s: sync its folder",
                            u->place.folder, u->place.name);
    }
}

static void end(struct ftp_upload *u, int code)
{
    if (code == 0) {
        u->state = UPLOAD_FINISHED;
        return;
    }
    u->state = UPLOAD_FAILED;
    u->failure = code;
    if (u->folder_tried)
        take_back(u);
    discard(u);
}

/* It has its name, and its folder may not keep it: the client is told that it failed and sends it
 * again, so this one must not become a picture, too. */
static void take_back(struct ftp_upload *u)
{
    struct stat st;
    if (fstatat(u->place.folder_fd, u->place.name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        st.st_ino != u->file.inode || st.st_dev != u->file.device)
        return; /* taken already, or replaced by a newer one */
    if (unlinkat(u->place.folder_fd, u->place.name, 0) < 0)
        return; /* the failure that led here is the story */
    ftp_tally_let_bytes(u->jail->tally, 0, -u->file.size);
    ftp_tally_grow_entries(u->jail->tally, &u->folder, -1);
}

void ftp_upload_close(struct ftp_upload *u)
{
    if (u == NULL)
        return;
    discard(u);
    ftp_jail_unref(u->jail);
    free(u);
}

/* Closes all; of what has no name yet nothing stays. */
static void discard(struct ftp_upload *u)
{
    if (u->temporary[0] != '\0')
        (void)unlinkat(u->place.folder_fd, u->temporary, 0); /* else the start cleans it */
    u->temporary[0] = '\0';
    ftp_tally_let_bytes(u->jail->tally, u->held, 0);
    u->held = 0;
    if (u->entry_held)
        ftp_tally_let_entry(u->jail->tally, &u->folder, 0);
    u->entry_held = false;
    if (u->fd >= 0)
        (void)close(u->fd); /* synced, or not wanted any more */
    if (u->place.folder_fd >= 0)
        (void)close(u->place.folder_fd); /* only read */
    u->fd = u->place.folder_fd = -1;
}
