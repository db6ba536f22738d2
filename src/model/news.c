#include "model/news.h"

const char *const news_names[NEWS_COUNT] = {
    [NEWS_STORED] = "stored",       [NEWS_EXAMINED] = "examined", [NEWS_STARRED] = "starred",
    [NEWS_UNSTARRED] = "unstarred", [NEWS_DELETED] = "deleted",   [NEWS_UNDELETED] = "undeleted",
    [NEWS_DELIVERED] = "delivered", [NEWS_UPLOADED] = "uploaded", [NEWS_DRAWN] = "drawn",
    [NEWS_REMOVED] = "removed",     [NEWS_CAMERA] = "camera",
};
