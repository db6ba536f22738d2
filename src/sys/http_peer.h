#pragma once
/* Who is behind a request: the other end of the connection, or, when that is a proxy which the
 * configuration trusts, the client that the proxy names. Pure. */

#include <sys/socket.h>

#include "base/host_list.h"
#include "sys/http_message.h"

/* Fills req->peer. `trusted` may be NULL: no proxy is. What the headers of others say about whom
 * they speak for is not believed, but who says so is not taken for this machine itself either: a
 * proxy beside us that nobody told us about must not open the door to all that it serves. */
void http_peer_find(struct http_request *req, const struct sockaddr *socket_peer, bool tls,
                    const struct host_list *trusted);
