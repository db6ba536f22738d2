#include "detect/cloud_config.h"

#include <stddef.h>

#define FIELD(name) offsetof(struct cloud_config, name)
#define DAY_MS 86400e3

static const char *const without_names[] = {"local", "undetected", NULL};
_Static_assert(ARRAY_LEN(without_names) == CLOUD_WITHOUT_COUNT + 1, "a name for each");

static const struct cfg_key keys[] = {
    {.name = "calls_per_day",
     .type = CFG_INT,
     .offset = FIELD(calls_per_day),
     .fallback = "0",
     .min = 0,
     .max = 1e9,
     .flags = CFG_RELOAD,
     .help = "Calls that may be billed in a day of UTC; 0 = no limit",
     .doc = "Counted in the ledger, before each call; a call that is not billed is given back. The "
            "count holds over restarts."},
    {.name = "calls_per_month",
     .type = CFG_INT,
     .offset = FIELD(calls_per_month),
     .fallback = "0",
     .min = 0,
     .max = 1e9,
     .flags = CFG_RELOAD,
     .help = "Likewise in a calendar month of UTC"},
    {.name = "at_limit",
     .type = CFG_CHOICE,
     .offset = FIELD(at_limit),
     .fallback = "local",
     .choices = without_names,
     .flags = CFG_RELOAD,
     .help = "Pictures beyond the budget: the local answer if there is one, or undetected",
     .doc = "`local`: a cascade keeps the local answer; without a local detector in force the "
            "picture is published undetected, as with `undetected`. The reason stands in the "
            "picture's verdict either way."},
    {.name = "on_failure",
     .type = CFG_CHOICE,
     .offset = FIELD(on_failure),
     .fallback = "local",
     .choices = without_names,
     .flags = CFG_RELOAD,
     .help = "Pictures without an answer from the cloud, likewise"},
    {.name = "patience",
     .type = CFG_DURATION,
     .offset = FIELD(patience_ms),
     .fallback = "0",
     .max = 7 * DAY_MS,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "How old a picture may become while the cloud is away, before on_failure; 0 = at once",
     .doc =
         "An event that comes late is often worth less than one without detail, so nothing waits "
         "by default, as with the predecessor. At most 256 pictures wait with their local "
         "answer; further ones are not held back."},
    {.name = "answers_age",
     .type = CFG_DURATION,
     .offset = FIELD(answers_age_ms),
     .fallback = "7d",
     .max = 366 * DAY_MS,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "The same bytes get the same answer for so long, without a call; 0 = never"},
    {.name = "answers_max",
     .type = CFG_INT,
     .offset = FIELD(answers_max),
     .fallback = "10000",
     .min = 0,
     .max = 1e6,
     .flags = CFG_RELOAD,
     .help = "Answers that are remembered at most, some 500 bytes each"},
    {.name = "price_per_1000",
     .type = CFG_DOUBLE,
     .offset = FIELD(price_per_1000),
     .fallback = "1.00",
     .min = 0,
     .max = 1000,
     .unit = "US dollars",
     .flags = CFG_RELOAD,
     .help = "Price of 1000 calls, for the estimate of what this month costs",
     .doc = "The default is that of DetectLabels for the first million pictures of a month in most "
            "regions. It is an estimate: free tiers, later tiers and taxes are left out."},
};

const struct cfg_section cloud_cfg_section = {
    .name = "cloud",
    .struct_size = sizeof(struct cloud_config),
    .keys = keys,
    .key_count = ARRAY_LEN(keys),
    .help = "What a detector in the cloud may cost, and what happens without it",
};
