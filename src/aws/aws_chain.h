#pragma once
/* Where AWS credentials come from. In this order, which is botocore's:
 *
 *   our own configuration's key pair
 *   that of [aws] (aws_account.h), which is that of the environment when it says nothing:
 *     AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN (not when a profile is
 * configured) a vault's, with its role (not when a profile is named anywhere) a profile with
 * role_arn and source_profile or credential_source: the role is assumed the profile in the shared
 * credentials file, then in the config file a container's address for credentials
 * (AWS_CONTAINER_CREDENTIALS_...) the metadata of an EC2 instance (version 2)
 *
 * and on top of any of them a role that our configuration names, else [aws] for who has no login of
 * its own. Left out: credential_process,
 * because this program never runs another; sign-on of persons (SSO) and tokens of a web identity.
 * When nothing is found and a profile has one of these, the error says so.
 *
 * Temporary credentials are fetched anew 15 min before they expire, by one thread at a time; the
 * old ones serve meanwhile. Their life is measured on the monotonic clock from the service's own
 * time, so a wrong clock here neither wears them out nor keeps them. Any thread. */

#include "aws/aws_clock.h"
#include "aws/sigv4.h"
#include "base/macros.h"

struct aws_chain_options {               /* copied */
    const char *profile;                 /* NULL or "" = AWS_PROFILE, else "default" */
    const char *access_key, *secret_key; /* of our own configuration: go before all; NULL = none */
    const char *role_arn;                /* to assume on top; NULL or "" = none */
    const char *region;                  /* of our own configuration, for STS; NULL or "" = none */
    const char *session_name;            /* NULL = "snapshotd" */
    const char *endpoint_sts, *endpoint_metadata; /* tests; NULL = AWS's */
};
struct aws_chain;
/* Reads no file and asks nobody yet. Fails for half a key pair. */
int aws_chain_new(const struct aws_chain_options *o, struct aws_chain **ret, struct err *e);
void aws_chain_free(struct aws_chain *c);
DEFINE_AUTO(aws_chain, aws_chain_free)
/* Blocks while there are none that are good. -ENOKEY, ERR_NEVER: none found; the text lists where
 * was looked. -ECANCELED as soon as `stop_fd` is readable (-1 = none). A failure is remembered for
 * some seconds and given to all who ask meanwhile. */
int aws_chain_get(struct aws_chain *c, int stop_fd, struct aws_credentials *ret, struct err *e);
/* The service says that these have expired or are not known: fetch anew at the next get. */
void aws_chain_expired(struct aws_chain *c, const struct aws_credentials *used);
/* Region: of the options, [aws], AWS_REGION, AWS_DEFAULT_REGION, the profile's; NULL when none
 * says. Valid as long as the chain. */
const char *aws_chain_region(struct aws_chain *c);
struct aws_clock *
aws_chain_clock(struct aws_chain *c); /* shared by all calls with its credentials */
/* What the current credentials are, for people: "profile 'x'", "instance metadata". Never a secret;
 * "" before the first get. */
void aws_chain_describe(struct aws_chain *c, char *buf, size_t size);
