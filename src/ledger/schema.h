#pragma once
/* The tables of the ledger and how an older database becomes a present one. Private to the ledger.
 *
 * The version stands in the file's user_version. Migration i leads from version i to i + 1; all
 * that are missing run in one transaction, so a crash leaves the old version or the new. */

#include "base/err.h"
#include "sys/db.h"

/* In the file's header (see file(1)): "snap". A database with other tables and without this mark
 * belongs to another program. */
#define SCHEMA_APPLICATION_ID 0x736e6170

/* Makes or upgrades the tables. -ENOTSUP for a newer version, -EUCLEAN for a foreign database. */
int schema_migrate(struct db *db, struct err *e);
