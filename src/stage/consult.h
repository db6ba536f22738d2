#pragma once
/* What the consult stage shares with the detect stage: pictures that get no answer of the cloud are
 * counted in one place. */

enum consult_without { WITHOUT_LIMIT, WITHOUT_FAILED, WITHOUT_FULL, WITHOUT_ABSENT, WITHOUT_COUNT };
void consult_count_without(enum consult_without why);
