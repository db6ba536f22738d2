#pragma once
/* Where AWS credentials come from, in botocore's order: environment, profile with a role, shared
 * credentials file, credential_process (off unless allowed), config file, container, instance
 * metadata (v2). Temporary ones are fetched anew 15 min before they expire, one fetch at a time;
 * the old ones serve meanwhile. Any thread. */

#include "aws/sigv4.h"
#include "base/macros.h"

struct aws_chain_options {
    const char *profile;                 /* NULL = AWS_PROFILE, else "default" */
    const char *access_key, *secret_key; /* of our own configuration: go before all; NULL = none */
    const char *role_arn;                /* to assume on top; NULL = none */
    const char *session_name;
    const char *endpoint_sts, *endpoint_metadata; /* tests; NULL = AWS's */
};
struct aws_chain;
int aws_chain_new(const struct aws_chain_options *o, struct aws_chain **ret, struct err *e);
void aws_chain_free(struct aws_chain *c);
DEFINE_AUTO(aws_chain, aws_chain_free)
/* -ENOKEY: none found; the text lists where was looked. */
int aws_chain_get(struct aws_chain *c, int stop_fd, struct aws_credentials *ret, struct err *e);
void aws_chain_expired(struct aws_chain *c); /* the service said so: fetch anew at the next get */
/* Region: AWS_REGION, AWS_DEFAULT_REGION, the profile's; NULL when none says. */
const char *aws_chain_region(struct aws_chain *c);
