#include "sim/sim_pushers.h"

#include <errno.h>
#include <string.h>

#include "base/dynbuf.h"
#include "base/macros.h"
#include "base/parse.h"
#include "base/text.h"

const struct sim_habit_kind sim_habit_kinds[SIM_HABIT_COUNT] = {
    [SIM_HABIT_KEPT] = {"kept", "one session for all pictures, with NOOP between them"},
    [SIM_HABIT_MKD_EACH] = {"mkd-each", "makes each folder, there or not, and enters it"},
    [SIM_HABIT_MKD_DEEP] = {"mkd-deep", "makes a/b/c in one go"},
    [SIM_HABIT_CWD_FULL] = {"cwd-full", "enters the folder by its full path"},
    [SIM_HABIT_CWD_EACH] = {"cwd-each", "enters folder by folder and makes what is not there"},
    [SIM_HABIT_STOR_PATH] = {"stor-path", "STOR with the whole path"},
    [SIM_HABIT_SLASHES] = {"slashes", "doubled slashes in paths"},
    [SIM_HABIT_BACKSLASHES] = {"backslashes", "backslashes in paths"},
    [SIM_HABIT_TYPE_A] = {"type-a", "TYPE A for pictures"},
    [SIM_HABIT_ACTIVE] = {"active", "PORT instead of PASV"},
    [SIM_HABIT_EXTENDED] = {"extended", "EPSV instead of PASV, EPRT instead of PORT"},
    [SIM_HABIT_RENAME] = {"rename", "stores under another name and renames"},
    [SIM_HABIT_APPEND] = {"append", "APPE instead of STOR"},
    [SIM_HABIT_SIZE] = {"size", "asks for the size afterwards"},
    [SIM_HABIT_CHMOD] = {"chmod", "SITE CHMOD afterwards"},
    [SIM_HABIT_ALLO] = {"allo", "ALLO before each picture"},
    [SIM_HABIT_GREET] = {"greet", "SYST, FEAT and OPTS UTF8 ON after the login"},
    [SIM_HABIT_PWD] = {"pwd", "PWD after the login and as keepalive"},
    [SIM_HABIT_OLD] = {"old", "XMKD, XCWD, XPWD"},
    [SIM_HABIT_BARE_LF] = {"bare-lf", "lines end with LF alone"},
};

const char *const sim_event_names[SIM_EVENT_COUNT] = {"motion", "human", "timer"};

const struct sim_pusher sim_pushers[SIM_PUSHER_COUNT] = {
    {
        .name = "foscam",
        .help = "a session for each picture, makes its folders each time",
        .device = "FI9828P_00626E4A1B2C",
        .folder = "%D/snap",
        .picture = "%E_%Y%m%d-%H%M%S.jpg",
        .video = "%D/record/alarm_%Y%m%d_%H%M%S.mkv",
        .other = "%D/snap/status.txt",
        .test = "%D/ftptest.txt",
        .unfinished_prefix = "tmp_",
        .unfinished_suffix = "",
        .events = {"MDAlarm", "HMDAlarm", "Schedule"},
        .step_ms = 1000,
        .habits = SIM_HABIT(MKD_EACH),
    },
    {
        .name = "dahua",
        .help = "a kept session, folders made in one go, STOR with a path",
        .device = "4C01A2BPAG00001",
        .folder = "%D/%Y-%m-%d/001/jpg/%H/%M",
        .picture = "%S[%E][0@0][%I].jpg",
        .video = "%D/%Y-%m-%d/001/dav/%H/%H.%M.%S-%H.%M.%S[%E][0@0][%I].mp4",
        .other = "%D/%Y-%m-%d/001/dav/%H/%H.%M.%S-%H.%M.%S[%E][0@0][%I].idx",
        .test = "%D/test.txt",
        .unfinished_prefix = "",
        .unfinished_suffix = "_",
        .events = {"M", "M", "R"},
        .habits = SIM_HABIT(KEPT) | SIM_HABIT(MKD_DEEP) | SIM_HABIT(STOR_PATH) | SIM_HABIT(SLASHES),
    },
    {
        .name = "amcrest",
        .help = "as dahua with flat minutes, a session for each picture, active",
        .device = "AMC0170B8F1E2D",
        .folder = "%D/%Y-%m-%d/001/jpg/%H",
        .picture = "%M.%S[%E][0@0][%I].jpg",
        .video = "%D/%Y-%m-%d/001/dav/%H/%H.%M.%S-%H.%M.%S[%E][0@0][%I].mp4",
        .other = "%D/%Y-%m-%d/001/dav/%H/%H.%M.%S-%H.%M.%S[%E][0@0][%I].idx",
        .test = "%D/test.txt",
        .unfinished_prefix = "",
        .unfinished_suffix = "_",
        .events = {"M", "M", "R"},
        .habits = SIM_HABIT(CWD_EACH) | SIM_HABIT(OLD) | SIM_HABIT(ACTIVE) | SIM_HABIT(CHMOD),
    },
    {
        .name = "hikvision",
        .help = "a session for each picture, enters full paths, checks sizes",
        .device = "192.168.1.64",
        .folder = "%D/%m",
        .picture = "%D_01_%Y%m%d%H%M%S%L_%E.jpg",
        .video = "%D/%m/%D_01_%Y%m%d%H%M%S%L.mp4",
        .other = "%D/%m/%D_01_%Y%m%d%H%M%S%L.txt",
        .test = "test.txt",
        .unfinished_prefix = "tmp_",
        .unfinished_suffix = "",
        .events = {"MOTION_DETECTION", "LINE_CROSSING_DETECTION", "TIMING"},
        .step_ms = 1,
        .habits = SIM_HABIT(GREET) | SIM_HABIT(CWD_FULL) | SIM_HABIT(SIZE),
    },
    {
        .name = "reolink",
        .help = "stores under another name and renames, announces sizes",
        .device = "Garden",
        .folder = "%Y/%m/%d",
        .picture = "%D_00_%Y%m%d%H%M%S.jpg",
        .video = "%Y/%m/%d/%D_00_%Y%m%d%H%M%S.mp4",
        .other = "%Y/%m/%d/%D_00_%Y%m%d%H%M%S.txt",
        .test = "ReolinkTest.txt",
        .unfinished_prefix = "",
        .unfinished_suffix = ".tmp",
        .events = {"", "", ""},
        .step_ms = 1000,
        .habits = SIM_HABIT(CWD_FULL) | SIM_HABIT(MKD_EACH) | SIM_HABIT(RENAME) | SIM_HABIT(ALLO),
    },
    {
        .name = "axis",
        .help = "as curl: PWD, folder by folder, EPSV",
        .device = "axis-accc8e4d5e6f",
        .folder = "%Y-%m-%d/%H",
        .picture = "image%y-%m-%d_%H-%M-%S-%c.jpg",
        .video = "%Y-%m-%d/%H/video%y-%m-%d_%H-%M-%S-%c.mkv",
        .other = "%Y-%m-%d/%H/event.xml",
        .test = "axis_test.txt",
        .unfinished_prefix = "",
        .unfinished_suffix = ".part",
        .events = {"", "", ""},
        .step_ms = 10,
        .habits = SIM_HABIT(PWD) | SIM_HABIT(CWD_EACH) | SIM_HABIT(EXTENDED),
    },
    {
        .name = "axis-fixed",
        .help = "always image.jpg, in a kept session",
        .device = "axis-accc8e4d5e6f",
        .folder = "",
        .picture = "image.jpg",
        .video = "video.mkv",
        .other = "event.xml",
        .test = "axis_test.txt",
        .unfinished_prefix = "",
        .unfinished_suffix = ".part",
        .events = {"", "", ""},
        .habits = SIM_HABIT(PWD) | SIM_HABIT(KEPT) | SIM_HABIT(EXTENDED),
    },
    {
        .name = "simple",
        .help = "always snapshot.jpg, TYPE A, active",
        .device = "IPCAM",
        .folder = "",
        .picture = "snapshot.jpg",
        .video = "record.avi",
        .other = "readme.txt",
        .test = "test.txt",
        .unfinished_prefix = "tmp_",
        .unfinished_suffix = "",
        .events = {"", "", ""},
        .habits = SIM_HABIT(TYPE_A) | SIM_HABIT(ACTIVE) | SIM_HABIT(BARE_LF),
    },
    {
        .name = "counter",
        .help = "numbered pictures, APPE, backslashes",
        .device = "IPCAM",
        .folder = "%D/images",
        .picture = "image%N.jpg",
        .video = "%D/record.avi",
        .other = "%D/readme.txt",
        .test = "test.txt",
        .unfinished_prefix = "tmp_",
        .unfinished_suffix = "",
        .events = {"", "", ""},
        .habits = SIM_HABIT(CWD_FULL) | SIM_HABIT(APPEND) | SIM_HABIT(BACKSLASHES),
    },
};

const struct sim_pusher *sim_pusher_find(const char *name)
{
    for (size_t i = 0; i < SIM_PUSHER_COUNT; i++)
        if (text_equal_nocase(sim_pushers[i].name, name))
            return &sim_pushers[i];
    return NULL;
}

static int habit_find(const char *name, size_t len)
{
    for (int i = 0; i < SIM_HABIT_COUNT; i++)
        if (strlen(sim_habit_kinds[i].name) == len && !memcmp(sim_habit_kinds[i].name, name, len))
            return i;
    return -1;
}

int sim_habits_parse(const char *text, unsigned *habits, struct err *e)
{
    const char *cursor = text, *item;
    size_t len;
    unsigned result = *habits;
    while (parse_list_next(&cursor, &item, &len)) {
        bool off = len > 3 && !memcmp(item, "no-", 3);
        int habit = habit_find(item + (off ? 3 : 0), len - (off ? 3 : 0));
        if (habit < 0)
            return err_set(e, -EINVAL, ERR_NEVER, "there is no habit '%.*s'", (int)MIN(len, 40U),
                           item);
        unsigned bit = 1u << habit;
        result = off ? result & ~bit : result | bit;
    }
    *habits = result;
    return 0;
}

static int64_t floor_div(int64_t n, int64_t by)
{
    return n / by - (n % by < 0); /* a clock may stand before 1970 */
}

void sim_pusher_shoot(const struct sim_pusher *p, struct wall_time now, struct sim_shot *shot)
{
    struct sim_shot last = *shot;
    *shot = (struct sim_shot){.at = now, .number = last.number + 1};
    if (last.number == 0)
        return;
    int64_t step = (int64_t)p->step_ms * 1000;
    /* Names count in whole steps: 03:04:05.9 and 03:04:06.0 differ, 05.0 and 05.9 do not. */
    if (step && floor_div(now.us, step) <= floor_div(last.at.us, step))
        shot->at.us = (floor_div(last.at.us, step) + 1) * step;
    if (!step && now.us < last.at.us)
        shot->at = last.at; /* the clock was set back */
    if (!step && wall_seconds(shot->at) == wall_seconds(last.at))
        shot->index = last.index + 1;
}

/* One placeholder; false when there is no such letter. */
static bool fill_in(struct dynbuf *out, char letter, const struct sim_pusher *p, const char *device,
                    enum sim_event event, const struct sim_shot *shot, const struct tm *t)
{
    int ms = (int)(floor_div(shot->at.us, 1000) - wall_seconds(shot->at) * 1000);
    switch (letter) {
    case 'Y':
        return dynbuf_printf(out, "%04d", t->tm_year + 1900) == 0;
    case 'y':
        return dynbuf_printf(out, "%02d", t->tm_year % 100) == 0;
    case 'm':
        return dynbuf_printf(out, "%02d", t->tm_mon + 1) == 0;
    case 'd':
        return dynbuf_printf(out, "%02d", t->tm_mday) == 0;
    case 'H':
        return dynbuf_printf(out, "%02d", t->tm_hour) == 0;
    case 'M':
        return dynbuf_printf(out, "%02d", t->tm_min) == 0;
    case 'S':
        return dynbuf_printf(out, "%02d", t->tm_sec) == 0;
    case 'L':
        return dynbuf_printf(out, "%03d", ms) == 0;
    case 'c':
        return dynbuf_printf(out, "%02d", ms / 10) == 0;
    case 'I':
        return dynbuf_printf(out, "%u", shot->index) == 0;
    case 'N':
        return dynbuf_printf(out, "%06u", shot->number) == 0;
    case 'D':
        return dynbuf_puts(out, device) == 0;
    case 'E':
        return dynbuf_puts(out, p->events[event]) == 0;
    default:
        return false;
    }
}

int sim_pusher_name(const struct sim_pusher *p, const char *pattern, const char *device,
                    enum sim_event event, const struct sim_shot *shot, const struct tm *local,
                    char ret[SIM_PUSH_PATH_MAX])
{
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, SIM_PUSH_PATH_MAX - 1);
    for (const char *s = pattern; *s; s++) {
        if (*s == '%' && s[1])
            (void)fill_in(&out, *++s, p, device, event, shot, local); /* `failed` tells */
        else
            (void)dynbuf_append(&out, s, 1); /* the same */
    }
    if (out.failed)
        return -ENAMETOOLONG;
    (void)text_copy(ret, SIM_PUSH_PATH_MAX, dynbuf_str(&out)); /* fits */
    return 0;
}
