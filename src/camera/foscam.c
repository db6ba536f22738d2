/* Foscam's CGI interface of the HD models: user and password travel in the query. The failure
 * bodies are known to the common rules (judge.c), because people point a URL template here too. */

#include <errno.h>
#include <string.h>

#include "base/dynbuf.h"
#include "base/mem.h"
#include "camera/camera_kind.h"
#include "sys/httpc.h"

#define COMMAND_DEFAULT "snapPicture2"
#define REQUEST_URL_MAX 4096 /* longer ones no camera reads */

static int validate(const struct camera *cam, struct err *e);
static int request(const struct camera *cam, void *memory, struct wall_time now,
                   struct camera_request *ret, struct err *e);

const struct camera_kind camera_kind_foscam = {
    .name = "foscam",
    .help = "Foscam HD: CGIProxy.fcgi with the login in the query; needs address, user, password",
    .validate = validate,
    .request = request,
};

static int make_url(const struct camera *cam, struct dynbuf *url, struct err *e);
static int write_url(const struct camera *cam, struct dynbuf *url);

static int validate(const struct camera *cam, struct err *e)
{
    if (!cam->address || !*cam->address)
        return err_set(e, -EINVAL, ERR_NEVER, "a foscam camera needs an address (host:port)");
    for (const char *p = cam->command ? cam->command : ""; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == '#')
            return err_set(e, -EINVAL, ERR_NEVER,
                           "the command must be a name like snapPicture2 or a path with a query");
    AUTO_DONE(dynbuf) scratch = {0};
    return make_url(cam, &scratch, e);
}

static int request(const struct camera *cam, void *memory UNUSED, struct wall_time now UNUSED,
                   struct camera_request *ret, struct err *e)
{
    int r = validate(cam, e);
    if (r < 0)
        return r;
    AUTO_DONE(dynbuf) url = {0};
    r = make_url(cam, &url, e);
    if (r < 0)
        return r;
    char shown[256];
    httpc_show_url(dynbuf_str(&url), shown, sizeof(shown));
    *ret = (struct camera_request){
        .url = dynbuf_steal(&url, NULL),
        .shown = xstrdup(shown),
        .auth = CAMERA_AUTH_NONE,
        .login_inside = cam->user && *cam->user,
    };
    return 0;
}

/* Initialises `url` in any case. */
static int make_url(const struct camera *cam, struct dynbuf *url, struct err *e)
{
    dynbuf_init(url, REQUEST_URL_MAX);
    int r = write_url(cam, url);
    if (r == -ENOMEM)
        return err_set(e, r, ERR_LATER, "no memory for the request");
    return r < 0 ? err_set(e, -EINVAL, ERR_NEVER, "the request would be longer than %d bytes",
                           REQUEST_URL_MAX)
                 : 0;
}

static int write_url(const struct camera *cam, struct dynbuf *url)
{
    const char *command = cam->command && *cam->command ? cam->command : COMMAND_DEFAULT;
    int r = dynbuf_printf(url, "%s://%s", cam->tls ? "https" : "http", cam->address);
    /* The original's configuration has both forms: newer ones the path, older ones the bare name.
     */
    if (r == 0 && *command == '/')
        r = dynbuf_puts(url, command);
    else if (r == 0)
        r = dynbuf_puts(url, "/cgi-bin/CGIProxy.fcgi?cmd=");
    if (r == 0 && *command != '/')
        r = httpc_escape(url, command, strlen(command));
    if (r < 0 || !cam->user || !*cam->user)
        return r;
    r = dynbuf_puts(url, strchr(command, '?') || *command != '/' ? "&usr=" : "?usr=");
    if (r == 0)
        r = httpc_escape(url, cam->user, strlen(cam->user));
    if (r == 0)
        r = dynbuf_puts(url, "&pwd=");
    if (r == 0 && cam->password)
        r = httpc_escape(url, cam->password, strlen(cam->password));
    return r;
}
