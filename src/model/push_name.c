#include "model/push_name.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/macros.h"
#include "base/text.h"

const char *const push_kind_names[PUSH_KIND_COUNT] = {
    [PUSH_PICTURE] = "picture",
    [PUSH_VIDEO] = "video",
    [PUSH_OTHER] = "other",
    [PUSH_UNFINISHED] = "unfinished",
};

/* Names longer than a file system allows say nothing. */
#define NAME_MAX_BYTES 255
/* No camera was there before, and four digits that mean no year begin with less or more. */
#define YEAR_MIN 1970
#define YEAR_MAX 2199

/* What was read so far; -1 = not yet. */
struct moment {
    int year, month, day, hour, minute, second;
    int part, per_second; /* of the second */
    bool utc;
};

/* The last component without its extension, and the path. */
struct push_name {
    const char *path;
    const char *base; /* in the path */
    char stem[NAME_MAX_BYTES + 1];
};

/* Kind. */

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Behind the last dot, or "" . A dot in front makes a hidden name, not an extension. */
static const char *extension_of(const char *base)
{
    const char *dot = strrchr(base, '.');
    return dot && dot != base ? dot + 1 : "";
}

static bool is_one_of(const char *extension, size_t len, const char *const *list)
{
    for (; *list; list++)
        if (strlen(*list) == len && strncasecmp(*list, extension, len) == 0)
            return true;
    return false;
}

static const char *const pictures[] = {"jpg",  "jpeg", "jpe", "jfif", "png",
                                       "webp", "gif",  "bmp", NULL};
/* With the index that Dahua puts beside, and raw streams. */
static const char *const videos[] = {"mp4",  "m4v", "mkv",  "avi",   "mov",  "dav", "idx",
                                     "264",  "265", "h264", "h265",  "hevc", "ts",  "mts",
                                     "m2ts", "flv", "asf",  "wmv",   "webm", "mpg", "mpeg",
                                     "3gp",  "ogv", "mjpg", "mjpeg", NULL};
static const char *const unfinished[] = {"part",       "partial",  "filepart",   "tmp", "temp",
                                         "crdownload", "download", "incomplete", NULL};

enum push_kind push_name_kind(const char *path)
{
    const char *base = base_of(path);
    const char *extension = extension_of(base);
    size_t len = strlen(extension);
    bool video = is_one_of(extension, len, videos);
    /* ".in.NAME" of lftp and ProFTPD, "tmp_NAME" of ncftp; "_NAME" for videos alone, as Dahua does,
     * because pictures may be called so. */
    if (base[0] == '.' || strncasecmp(base, "tmp_", 4) == 0 || text_ends_with(base, "~") ||
        is_one_of(extension, len, unfinished) || (base[0] == '_' && video))
        return PUSH_UNFINISHED;
    /* "NAME.mp4_", of Dahua too. */
    if (len > 1 && extension[len - 1] == '_' &&
        (is_one_of(extension, len - 1, videos) || is_one_of(extension, len - 1, pictures)))
        return PUSH_UNFINISHED;
    if (video)
        return PUSH_VIDEO;
    return is_one_of(extension, len, pictures) ? PUSH_PICTURE : PUSH_OTHER;
}

bool push_name_is_picture(const char *path)
{
    const char *extension = extension_of(base_of(path));
    return is_one_of(extension, strlen(extension), pictures);
}

static bool is_hidden_part(const char *name, size_t len)
{
    static const char *const begins[] = {PUSH_HIDDEN_UPLOAD, PUSH_HIDDEN_TAKEN, ".Trash-", NULL};
    static const char *const whole[] = {".Trash",    ".Trashes",   ".recycle",  "#recycle",
                                        ".snapshot", ".snapshots", "#snapshot", ".zfs",
                                        "@eaDir",    "lost+found", NULL};
    for (const char *const *begin = begins; *begin; begin++)
        if (len >= strlen(*begin) && memcmp(name, *begin, strlen(*begin)) == 0)
            return true;
    for (const char *const *word = whole; *word; word++)
        if (strlen(*word) == len && memcmp(name, *word, len) == 0)
            return true;
    return false;
}

bool push_name_is_hidden(const char *path)
{
    for (const char *part = path; *part; part += *part == '/') {
        size_t len = strcspn(part, "/");
        if (is_hidden_part(part, len))
            return true;
        part += len;
    }
    return false;
}

/* Reading. Each moves *p on success only. */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool read_number(const char **p, int count, int *ret)
{
    int n = 0;
    for (int i = 0; i < count; i++) {
        if (!is_digit((*p)[i]))
            return false;
        n = n * 10 + ((*p)[i] - '0');
    }
    *p += count;
    *ret = n;
    return true;
}

/* One of `set`; '\0' in the text is none. */
static bool read_one(const char **p, const char *set, char *ret)
{
    if (!**p || !strchr(set, **p))
        return false;
    *ret = **p;
    (*p)++;
    return true;
}

static bool read_char(const char **p, char c)
{
    char got;
    return read_one(p, (const char[]){c, '\0'}, &got);
}

/* YYYYMMDD, or with one of `separators` twice. */
static bool read_date(const char **p, const char *separators, struct moment *m)
{
    const char *s = *p;
    char separator = '\0';
    if (!read_number(&s, 4, &m->year))
        return false;
    (void)read_one(&s, separators, &separator); /* or none */
    if (!read_number(&s, 2, &m->month) || (separator && !read_char(&s, separator)) ||
        !read_number(&s, 2, &m->day))
        return false;
    *p = s;
    return true;
}

/* HHMMSS, or with one of `separators` twice. */
static bool read_time(const char **p, const char *separators, struct moment *m)
{
    const char *s = *p;
    char separator = '\0';
    if (!read_number(&s, 2, &m->hour))
        return false;
    (void)read_one(&s, separators, &separator); /* or none */
    if (!read_number(&s, 2, &m->minute) || (separator && !read_char(&s, separator)) ||
        !read_number(&s, 2, &m->second))
        return false;
    *p = s;
    return true;
}

static size_t count_digits(const char *s)
{
    size_t n = 0;
    while (is_digit(s[n]))
        n++;
    return n;
}

static bool is_moment(const struct moment *m)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (m->year < YEAR_MIN || m->year > YEAR_MAX || m->month < 1 || m->month > 12 || m->day < 1 ||
        m->day > days[m->month - 1] || m->hour < 0 || m->hour > 23 || m->minute < 0 ||
        m->minute > 59 || m->second < 0 || m->second > 59)
        return false;
    bool leap = m->year % 4 == 0 && (m->year % 100 != 0 || m->year % 400 == 0);
    return m->month != 2 || m->day < 29 || leap;
}

/* The rules. Each fills a moment, which need not be one yet. */

/* MDAlarm_20260102-030405, HMDAlarm_, SDAlarm_, IOAlarm_, Schedule_, Snap_; alarm_, MDalarm_ with
 * an underscore between, for videos. */
static bool rule_foscam(const struct push_name *n, struct moment *m)
{
    static const char *const words[] = {"alarm", "schedule", "snap", NULL};
    size_t letters = 0;
    while (is_letter(n->stem[letters]))
        letters++;
    const char *p = n->stem + letters;
    bool known = false;
    for (const char *const *word = words; *word && !known; word++) {
        size_t len = strlen(*word);
        known = letters >= len && strncasecmp(p - len, *word, len) == 0;
    }
    char between;
    return known && read_char(&p, '_') && read_date(&p, "", m) && read_one(&p, "-_", &between) &&
           read_time(&p, "", m) && !is_digit(*p);
}

/* The component before `end` in the path: its length, 0 at the beginning. */
static size_t component_before(const char *path, const char *end, const char **ret)
{
    if (end <= path)
        return 0;
    const char *last = end - 1; /* the slash behind the component */
    const char *start = last;
    while (start > path && start[-1] != '/')
        start--;
    *ret = start;
    return (size_t)(last - start);
}

/* A folder of two digits right above `*at`, which then moves up. */
static bool read_folder(const struct push_name *n, const char **at, int *ret)
{
    const char *start;
    if (component_before(n->path, *at, &start) != 2)
        return false;
    *at = start;
    return read_number(&start, 2, ret);
}

/* The next folder above `at` that is a date, whole. */
static bool find_date_folder(const struct push_name *n, const char *at, struct moment *m)
{
    while (at > n->path) {
        const char *start;
        size_t len = component_before(n->path, at, &start);
        const char *p = start;
        if ((len == 8 || len == 10) && read_date(&p, "-._", m) && p == start + len)
            return true;
        at = start;
    }
    return false;
}

/* 2026-01-02/001/jpg/03/04/05[M][0@0][0].jpg, .../03/04.05[M]..., .../03.04.05-03.04.25[M]... */
static bool rule_dahua(const struct push_name *n, struct moment *m)
{
    const char *p = n->stem, *at = n->base;
    int numbers[3], count = 0;
    while (count < 3 && read_number(&p, 2, &numbers[count])) {
        count++;
        if (*p != '.')
            break;
        p++;
    }
    if (count == 0 || (*p != '[' && !(count == 3 && *p == '-')))
        return false;
    m->second = numbers[count - 1];
    if (count > 1)
        m->minute = numbers[count - 2];
    else if (!read_folder(n, &at, &m->minute))
        return false;
    if (count > 2)
        m->hour = numbers[0];
    else if (!read_folder(n, &at, &m->hour))
        return false;
    return find_date_folder(n, at, m);
}

/* A piece between underscores that is `digits` digits: date, time, and what is left in ms. */
static bool find_stamp(const struct push_name *n, size_t digits, struct moment *m)
{
    for (const char *p = n->stem; *p; p += strcspn(p, "_"), p += *p == '_') {
        size_t len = strcspn(p, "_");
        if (len != digits || count_digits(p) != digits)
            continue;
        (void)(read_date(&p, "", m) && read_time(&p, "", m)); /* enough digits for both */
        if (digits == 17 && read_number(&p, 3, &m->part))
            m->per_second = 1000;
        return true;
    }
    return false;
}

/* 192.168.1.64_01_20260102030405123_MOTION_DETECTION */
static bool rule_hikvision(const struct push_name *n, struct moment *m)
{
    return find_stamp(n, 17, m);
}

/* Front door_00_20260102030405 */
static bool rule_reolink(const struct push_name *n, struct moment *m)
{
    return find_stamp(n, 14, m);
}

/* image26-01-02_03-04-05-67: hundredths at the end, and the one form in which a year has two
 * digits.
 */
static bool rule_axis(const struct push_name *n, struct moment *m)
{
    const char *p = n->stem + strcspn(n->stem, "0123456789");
    if (!read_number(&p, 2, &m->year) || !read_char(&p, '-') || !read_number(&p, 2, &m->month) ||
        !read_char(&p, '-') || !read_number(&p, 2, &m->day) || !read_char(&p, '_') ||
        !read_number(&p, 2, &m->hour) || !read_char(&p, '-') || !read_number(&p, 2, &m->minute) ||
        !read_char(&p, '-') || !read_number(&p, 2, &m->second) || !read_char(&p, '-') ||
        !read_number(&p, 2, &m->part) || is_digit(*p))
        return false;
    m->year += 2000;
    m->per_second = 100;
    return true;
}

/* What may follow the seconds: ".123" (not an extension: that is off), "Z", or nothing of a number.
 */
static bool read_end(const char *p, struct moment *m)
{
    if ((*p == '.' || *p == ',') && count_digits(p + 1) == 3) {
        p++;
        (void)read_number(&p, 3, &m->part); /* three digits are there */
        m->per_second = 1000;
    } else if (count_digits(p) == 3) {
        (void)read_number(&p, 3, &m->part); /* the same */
        m->per_second = 1000;
    }
    if ((*p == 'Z' || *p == 'z') && !is_letter(p[1])) {
        m->utc = true;
        p++;
    }
    return !is_digit(*p);
}

static bool read_written(const char *p, struct moment *m)
{
    char between;
    if (!read_date(&p, "-._", m))
        return false;
    if (strncmp(p, " at ", 4) == 0)
        p += 4;
    else
        (void)read_one(&p, " _-Tt", &between); /* or none */
    return read_time(&p, "-._:", m) && read_end(p, m) && is_moment(m);
}

/* A date and a time as people and most programs write them, anywhere in the name:
 * 2026-01-02_03-04-05, 2026-01-02 03.04.05, IMG_20260102_030405, cam-20260102030405 */
static bool rule_written(const struct push_name *n, struct moment *m)
{
    for (const char *p = n->stem; *p; p++) {
        struct moment here = *m;
        if (!is_digit(*p) || (p > n->stem && is_digit(p[-1])) || !read_written(p, &here))
            continue;
        *m = here;
        return true;
    }
    return false;
}

/* 2026-01-02/03-04-05.jpg, 20260102/cam/030405_1.jpg */
static bool rule_folders(const struct push_name *n, struct moment *m)
{
    const char *p = n->stem;
    return read_time(&p, "-._:", m) && !is_digit(*p) && find_date_folder(n, n->base, m);
}

/* What the original looks at: behind the second underscore, with blanks for further ones; the
 * whole when there is none at all. */
static void original_text(const struct push_name *n, char *ret)
{
    const char *p = n->stem;
    if (strchr(p, '_'))
        for (int i = 0; i < 2; i++) {
            p += strcspn(p, "_");
            p += *p == '_';
        }
    do
        *ret++ = *p == '_' ? ' ' : *p;
    while (*p++);
}

/* Of the forms that the original's parser (dateutil) takes, those in which it is right. It also
 * makes days of one or two digits, and wrong dates of six; 11, 13 and 16 digits end it. */
static bool rule_original(const struct push_name *n, struct moment *m)
{
    char text[NAME_MAX_BYTES + 1];
    original_text(n, text);
    const char *p = text;
    char between;
    if (!read_date(&p, "-. ", m))
        return false;
    m->hour = m->minute = m->second = m->per_second = 0;
    if (!*p)
        return true; /* midnight */
    bool apart = read_one(&p, "- T", &between);
    if (!read_number(&p, 2, &m->hour))
        return false;
    if (!*p)
        return apart; /* ten digits without a gap are something else */
    if (!read_number(&p, 2, &m->minute))
        return false;
    if (!*p)
        return true;
    m->per_second = 1;
    return read_number(&p, 2, &m->second) && !*p;
}

/* fetch_front-door-camera_1767323045: its own names. */
static bool read_unix(const struct push_name *n, int64_t *ret)
{
    char text[NAME_MAX_BYTES + 1];
    original_text(n, text);
    if (strlen(text) != 10 || count_digits(text) != 10)
        return false;
    int64_t seconds = 0;
    for (const char *p = text; *p; p++)
        seconds = seconds * 10 + (*p - '0');
    *ret = seconds;
    return true;
}

static const struct {
    const char *name;
    bool (*read)(const struct push_name *n, struct moment *m);
} rules[] = {
    {"foscam", rule_foscam},   {"dahua", rule_dahua},       {"hikvision", rule_hikvision},
    {"reolink", rule_reolink}, {"axis", rule_axis},         {"written", rule_written},
    {"folders", rule_folders}, {"original", rule_original},
};
const char *const push_rule_names[] = {"foscam",  "dahua",   "hikvision", "reolink", "axis",
                                       "written", "folders", "original",  "unix",    NULL};

/* Copies of a file get "~1" or " (1)" behind their name. */
static void cut_copy_number(char *stem)
{
    size_t len = strlen(stem), end = len;
    if (end > 0 && stem[end - 1] == ')')
        end--;
    size_t start = end;
    while (start > 0 && is_digit(stem[start - 1]))
        start--;
    if (start == end)
        return;
    if (end == len && start > 0 && stem[start - 1] == '~')
        stem[start - 1] = '\0';
    else if (end < len && start > 1 && stem[start - 1] == '(' && stem[start - 2] == ' ')
        stem[start - 2] = '\0';
}

static bool take_name(const char *path, struct push_name *ret)
{
    ret->path = path;
    ret->base = base_of(path);
    size_t len = strlen(ret->base);
    const char *extension = extension_of(ret->base);
    /* "2026-01-02 03.04.05" has none. */
    size_t extension_len = strlen(extension);
    if (extension_len > 0 && count_digits(extension) < extension_len)
        len -= extension_len + 1;
    if (len == 0 || len > NAME_MAX_BYTES)
        return false;
    memcpy(ret->stem, ret->base, len);
    ret->stem[len] = '\0';
    cut_copy_number(ret->stem);
    return true;
}

static struct wall_time wall_of(const struct moment *m)
{
    struct tm tm = {.tm_year = m->year - 1900,
                    .tm_mon = m->month - 1,
                    .tm_mday = m->day,
                    .tm_hour = m->hour,
                    .tm_min = m->minute,
                    .tm_sec = m->second};
    int64_t us = (int64_t)timegm(&tm) * 1000000;
    return (struct wall_time){us + (m->per_second > 1 ? m->part * (1000000 / m->per_second) : 0)};
}

int push_name_time(const char *path, struct push_time *ret)
{
    struct push_name n;
    if (!take_name(path, &n))
        return -ENOENT;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        struct moment m = {.per_second = 1};
        if (!rules[i].read(&n, &m) || !is_moment(&m))
            continue;
        *ret = (struct push_time){.at = wall_of(&m),
                                  .absolute = m.utc,
                                  .per_second = m.per_second,
                                  .rule = rules[i].name};
        return 0;
    }
    int64_t seconds;
    if (!read_unix(&n, &seconds))
        return -ENOENT;
    *ret = (struct push_time){
        .at = wall_from_seconds(seconds), .absolute = true, .per_second = 1, .rule = "unix"};
    return 0;
}

/* Time zones. mktime() chooses by what it was asked last when a time is there twice. */

/* Seconds east of Greenwich at a moment. */
static int64_t offset_at(int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    return localtime_r(&t, &tm) ? tm.tm_gmtoff : 0;
}

static int64_t distance(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

struct wall_time push_local_to_utc(struct wall_time local, struct wall_time near)
{
    /* No zone is more than 26 hours from another, and none changes twice in two days. */
    const int64_t day = 26 * INT64_C(3600);
    int64_t shown = wall_seconds(local);
    int64_t before = offset_at(shown - day), after = offset_at(shown + day);
    int64_t early = shown - before, late = shown - after;
    bool early_fits = offset_at(early) == before, late_fits = offset_at(late) == after;
    int64_t chosen = early; /* also for the hour that is skipped: the offset from before it */
    if (late_fits && !early_fits)
        chosen = late;
    else if (late_fits && distance(late, wall_seconds(near)) < distance(early, wall_seconds(near)))
        chosen = late;
    return (struct wall_time){local.us + (chosen - shown) * 1000000};
}

struct wall_time push_event_time(const struct push_time *named, struct wall_time arrived,
                                 int64_t past_ms, int64_t future_ms, bool *ret_off)
{
    struct wall_time at = named->absolute ? named->at : push_local_to_utc(named->at, arrived);
    int64_t later_us = at.us - arrived.us;
    *ret_off = later_us > future_ms * 1000 || -later_us > past_ms * 1000;
    return *ret_off ? arrived : at;
}
