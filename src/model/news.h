#pragma once
/* What happens to pictures and cameras, for who listens. Only a hint: the ledger has the truth. */

enum news {
    NEWS_STORED,   /* of snapshots: the subject is an id */
    NEWS_EXAMINED, /* its verdict is recorded, perhaps once more */
    NEWS_STARRED,
    NEWS_UNSTARRED,
    NEWS_DELETED,
    NEWS_UNDELETED,
    NEWS_DELIVERED, /* a destination has its event */
    NEWS_UPLOADED,  /* a storage has a file of it */
    NEWS_DRAWN,     /* its annotated copy is there */
    NEWS_REMOVED,   /* its file went in need, before it had reached all it should */
    NEWS_CAMERA,    /* a camera's state may be another one; the subject is its name */
    NEWS_COUNT
};
extern const char *const news_names[NEWS_COUNT]; /* "stored", "examined", ... */
