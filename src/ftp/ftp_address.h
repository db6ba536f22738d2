#pragma once
/* Socket addresses as the server needs them: IPv4 stays IPv4 also when it comes in through an IPv6
 * socket. Pure. */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

union ftp_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

#define FTP_ADDRESS_TEXT_MAX 64 /* of "[v6%scope]:port" */

void ftp_address_normalise(union ftp_address *a); /* ::ffff:1.2.3.4 becomes 1.2.3.4 */
socklen_t ftp_address_size(const union ftp_address *a);
int ftp_address_port(const union ftp_address *a);
void ftp_address_set_port(union ftp_address *a, int port);
bool ftp_address_same_host(const union ftp_address *a, const union ftp_address *b);
/* Whether the other end is in the house: loopback, private or link-local. */
bool ftp_address_is_near(const union ftp_address *a);
/* "192.0.2.1", "2001:db8::1". Returns buf. */
const char *ftp_address_host(const union ftp_address *a, char buf[FTP_ADDRESS_TEXT_MAX]);
/* "192.0.2.1:21", "[2001:db8::1]:21". Returns buf. */
const char *ftp_address_text(const union ftp_address *a, char buf[FTP_ADDRESS_TEXT_MAX]);
