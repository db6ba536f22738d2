#pragma once
/* Where the configuration's references go to: from the engine's list to 1Password and back. */

#include "secrets/secrets.h"
#include "secrets/secrets_config.h"

struct references {
    enum secrets_mode mode;
    bool keeps;  /* the daemon */
    int stop_fd; /* 0 = none */
    struct secrets_report report;
};

/* For struct cfg_source; `arg` is a struct references. */
void references_resolve(void *arg, const struct cfg *c, struct cfg_reference *list, size_t count);

/* Is the section [creds] there? Then the predecessor's places are looked up. */
bool references_creds_given(const struct cfg *c);

/* How 1Password is asked by this configuration; strings are the cfg's and `access`'s, but the
 * folder `folder`'s. -ENOKEY: it is not to be asked, in words. */
int references_options(const struct cfg *c, struct secrets_access *access, char *folder,
                       size_t folder_size, struct secrets_options *ret, struct err *e);
