#include "app/descriptors.h"

#include <errno.h>
#include <sys/resource.h>

#include "base/macros.h"

/* With no camera and no broker some 80 are open; each camera, client and storage takes its share.
 */
#define DESCRIPTORS_MIN 160
/* Many systems begin with 1024 and allow far more. */
#define DESCRIPTORS_WANTED 4096

int descriptors_prepare(struct err *e)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) < 0)
        return 0; /* then it is tried without knowing */
    if (l.rlim_cur < DESCRIPTORS_WANTED && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = MIN((rlim_t)DESCRIPTORS_WANTED, l.rlim_max);
        (void)setrlimit(RLIMIT_NOFILE, &l); /* else what there was has to do */
        (void)getrlimit(RLIMIT_NOFILE, &l);
    }
    if (l.rlim_cur >= DESCRIPTORS_MIN)
        return 0;
    return err_set(e, -EMFILE, ERR_NEVER,
                   "the system allows only %llu open files and connections, and at least %d are "
                   "needed: raise the limit ('ulimit -n 1024' in a shell, LimitNOFILE=1024 in a "
                   "systemd unit, --ulimit nofile=1024 for a container)",
                   (unsigned long long)l.rlim_cur, DESCRIPTORS_MIN);
}
