#include "web/access_json.h"

#include "web/snapshot_json.h"

json_t *access_user_json(const struct access_user *u)
{
    return json_pack("{s:o,s:s,s:o,s:o}", "name", js_string(u->name), "role",
                     access_role_names[u->role], "created_at", time_json(u->created_at), "login_at",
                     time_json(u->login_at));
}

json_t *access_token_json(const struct access_token *t)
{
    json_t *scopes = json_array();
    for (unsigned bit = 1; bit <= ACCESS_SCOPES_ALL; bit <<= 1)
        if (t->scopes & bit)
            json_array_append_new(scopes, json_string(access_scope_name(bit)));
    return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o}", "id", t->id, "name", js_string(t->name), "scopes",
                     scopes, "created_at", time_json(t->created_at), "expires_at",
                     time_json(t->expires_at), "used_at", time_json(t->used_at));
}
