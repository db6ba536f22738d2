#pragma once
/* AWS's two files of profiles, read as one: ~/.aws/credentials ("[name]") and ~/.aws/config
 * ("[profile name]", but "[default]"). Blocks that are indented below a key ("s3 =") are skipped,
 * keys count in any case. A file that is not there is an empty one. Immutable once read. */

#include <stdbool.h>
#include <stddef.h>

#include "base/blob.h"
#include "base/err.h"
#include "base/macros.h"

enum aws_file { AWS_FILE_CREDENTIALS, AWS_FILE_CONFIG, AWS_FILE_COUNT };

struct aws_files;
/* Where [aws] (aws_account.h), AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE and HOME say. Fails for
 * a file that is there and cannot be read. */
int aws_files_read(struct aws_files **ret, struct err *e);
void aws_files_free(struct aws_files *f); /* wipes what it held */
DEFINE_AUTO(aws_files, aws_files_free)
const char *aws_files_path(const struct aws_files *f, enum aws_file file);
/* NULL when absent or empty. */
const char *aws_files_get(const struct aws_files *f, enum aws_file file, const char *profile,
                          const char *key);
/* Of both; the credentials file goes before. */
const char *aws_files_find(const struct aws_files *f, const char *profile, const char *key);
bool aws_files_has_profile(const struct aws_files *f, const char *profile);

/* A whole file, also behind symbolic links: mounted secrets are such. */
int aws_file_load(const char *path, size_t max, struct blob **ret, struct err *e);
