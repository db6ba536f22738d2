#include "storage/storage.h"

const char *const storage_trouble_names[STORAGE_TROUBLE_COUNT] = {
    [STORAGE_WELL] = "well",  [STORAGE_AWAY] = "away",   [STORAGE_RATE] = "slowed",
    [STORAGE_QUOTA] = "full", [STORAGE_LOGIN] = "login",
};
