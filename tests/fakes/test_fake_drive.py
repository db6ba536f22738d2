"""Our Drive is checked by clients that others wrote: Google's own library for Python, told where we
are by a discovery document, google-auth, and oauth2client, which the predecessor uses."""

import base64
import hashlib
import io
import json
import random

import pytest

for name in ("googleapiclient", "google_auth_httplib2", "oauth2client"):  # not on every Linux
    pytest.importorskip(name)

import google.auth.exceptions
import google.oauth2.service_account
import google_auth_httplib2
import httplib2
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseDownload, MediaIoBaseUpload, build_http
from oauth2client import client as oauth2client
from oauth2client.file import Storage

from fakes import faults, oauth
from fakes.discovery import discovery
from fakes.drive import FOLDER, SHORTCUT, FakeDrive

CHUNK = 256 << 10
FIELDS = "id,name,parents,size,md5Checksum,createdTime,mimeType,starred,trashed,appProperties"


@pytest.fixture
def drive():
    with FakeDrive(keep_content=True) as d:
        yield d
        assert d.oddities() == []


def login(drive, **how):
    return oauth2client.OAuth2Credentials.from_json(json.dumps(drive.credentials(**how)))


def service_of(drive, **how):
    # build_http() takes 308 out of httplib2's redirects, as uploads need it.
    return build_from_document(discovery(drive.origin()),
                               http=login(drive, **how).authorize(build_http()))


@pytest.fixture
def files(drive):
    return service_of(drive).files()


def picture(size, seed=1):
    return random.Random(seed).randbytes(size)


def body_of(data, **how):
    return MediaIoBaseUpload(io.BytesIO(data), "image/jpeg", **how)


def refusal(call):
    """Status and reason with which a call is refused."""
    with pytest.raises(HttpError) as e:
        call.execute()
    return e.value.resp.status, json.loads(e.value.content)["error"]["errors"][0]["reason"]


def folder(files, name="cameras", **more):
    return files.create(body={"name": name, "mimeType": FOLDER, **more}).execute()["id"]


def names(files, q, **more):
    found = files.list(q=q, fields="files(name)", **more).execute()["files"]
    return sorted(f["name"] for f in found)


# ---- uploads ----

def test_an_upload_in_one_piece_arrives_whole(drive, files):
    data = picture(150000)
    meta = {"name": "human_front-door-camera_1767323045.jpg", "parents": [folder(files)],
            "createdTime": "2026-01-02T04:04:05.120+01:00", "appProperties": {"sd_key": "k" * 64}}
    done = files.create(body=meta, media_body=body_of(data), fields=FIELDS).execute()
    assert done["size"] == "150000"
    assert done["md5Checksum"] == hashlib.md5(data).hexdigest()
    assert done["createdTime"] == "2026-01-02T03:04:05.120Z"
    assert done["appProperties"] == meta["appProperties"]
    assert (done["parents"], done["mimeType"]) == (meta["parents"], "image/jpeg")
    row, = drive.pictures()
    assert row["path"] == "cameras/" + meta["name"]
    assert row["sha256Checksum"] == hashlib.sha256(data).hexdigest()
    assert base64.b64decode(drive.content(done["id"])) == data


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 77])
def test_an_upload_in_pieces_arrives_whole(drive, files, size):
    data = picture(size)
    call = files.create(body={"name": "a.jpg"}, fields=FIELDS, media_body=body_of(
        data, chunksize=CHUNK, resumable=size > 0))
    done = call.execute()
    assert (done["size"], done["md5Checksum"]) == (str(size), hashlib.md5(data).hexdigest())
    if size:
        kinds = [r["operation"] for r in drive.requests(operation="drive")]
        assert kinds == ["session"] + ["chunk"] * -(-size // CHUNK)
        statuses = [r["status"] for r in drive.requests(operation="chunk")]
        assert statuses == [308] * (len(statuses) - 1) + [200]


def test_an_upload_goes_on_where_less_was_kept_than_sent(drive, files):
    drive.fault("short308", where="chunk", nth=2, keep=1000)
    drive.fault("short308", where="chunk", nth=1)
    data = picture(5 * CHUNK + 5)
    call = files.create(body={"name": "a.jpg"}, fields=FIELDS,
                        media_body=body_of(data, chunksize=2 * CHUNK, resumable=True))
    done, seen = None, []
    while done is None:
        progress, done = call.next_chunk()
        seen.append(progress and progress.resumable_progress)
    assert seen == [0, 1000, 2 * CHUNK, 4 * CHUNK, None]
    assert done["md5Checksum"] == hashlib.md5(data).hexdigest()


def in_spite_of_troubles(call, expected):
    """The file at the end of an upload in pieces that meets so many errors."""
    done, troubles = None, 0
    while done is None:
        try:
            _, done = call.next_chunk()
        except (HttpError, OSError, httplib2.HttpLib2Error):
            troubles += 1
            assert troubles <= expected
    assert troubles == expected
    return done


def span(start=None, end=None, data=b""):
    """Content-Range of a part, or of a question for the state."""
    return f"bytes {'*' if start is None else f'{start}-{end - 1}'}/{len(data)}"


def test_an_upload_goes_on_after_cuts_and_errors(drive, files):
    drive.fault("cut", where="chunk", nth=2, bytes=CHUNK + 9)
    drive.fault("backendError", where="chunk", nth=3, status=503)
    # httplib2 repeats what ended by an orderly close, but with a body that it has used up.
    drive.fault("lost", where="chunk", nth=4, reset=True)
    data = picture(4 * CHUNK + 5)
    call = files.create(body={"name": "a.jpg"}, fields=FIELDS,
                        media_body=body_of(data, chunksize=2 * CHUNK, resumable=True))
    done = in_spite_of_troubles(call, 3)
    assert [(r["operation"], r["status"], r["range"]) for r in drive.requests(operation="upload")
            ] == [("session", 200, None), ("chunk", 308, span(0, 2 * CHUNK, data)),
                  ("chunk", 0, span(2 * CHUNK, 4 * CHUNK, data)), ("status", 308, span(data=data)),
                  ("chunk", 503, span(3 * CHUNK, len(data), data)),
                  ("status", 308, span(data=data)),
                  ("chunk", 0, span(3 * CHUNK, len(data), data)), ("status", 200, span(data=data))]
    assert done["md5Checksum"] == hashlib.md5(data).hexdigest()
    assert [p["size"] for p in drive.pictures()] == [len(data)]


def test_the_last_answer_of_a_session_can_be_asked_for_again(drive, files):
    drive.fault("lost", where="chunk", nth=1, reset=True)
    data = picture(1000)
    call = files.create(body={"name": "a.jpg"}, fields=FIELDS,
                        media_body=body_of(data, resumable=True))
    done = in_spite_of_troubles(call, 1)
    assert len(drive.pictures()) == 1 and done["id"] == drive.pictures()[0]["id"]


@pytest.mark.parametrize("status", [404, 410])
def test_a_session_that_has_ended_says_so(drive, status):
    # The library cannot send a body twice: no new token in the middle.
    drive.set(session_gone_status=status, access_life_s=30 * 86400)
    call = service_of(drive).files().create(body={"name": "a.jpg"}, media_body=body_of(
        picture(2 * CHUNK), chunksize=CHUNK, resumable=True))
    assert call.next_chunk()[1] is None
    drive.set(clock_offset_s=8 * 86400)
    with pytest.raises(HttpError) as e:
        call.next_chunk()
    assert e.value.resp.status == status
    assert drive.pictures() == []


def test_content_can_be_replaced_and_downloaded(drive, files):
    made = files.create(body={"name": "a.jpg"}, media_body=body_of(picture(1000))).execute()
    data = picture(3 * CHUNK, seed=2)
    files.update(fileId=made["id"], body={"name": "b.jpg"}, media_body=body_of(data)).execute()
    got = io.BytesIO()
    load = MediaIoBaseDownload(got, files.get_media(fileId=made["id"]), chunksize=CHUNK)
    while not load.next_chunk()[1]:
        pass
    assert got.getvalue() == data
    row, = drive.pictures()
    assert (row["name"], row["commits"], row["size"]) == ("b.jpg", 2, len(data))


# ---- ids ----

@pytest.mark.parametrize("resumable", [False, True])
def test_an_id_is_good_for_one_file(drive, files, resumable):
    ids = files.generateIds(count=3, space="drive", type="files").execute()["ids"]
    assert len(set(ids)) == 3
    meta = {"name": "a.jpg", "id": ids[0]}

    def create():
        return files.create(body=meta, media_body=body_of(picture(9), resumable=resumable))

    assert create().execute()["id"] == ids[0]
    assert refusal(create()) == (409, "fileIdInUse")
    files.update(fileId=ids[0], body={"trashed": True}).execute()
    assert refusal(create()) == (409, "fileIdInUse")
    assert len(drive.files()) == 1


def test_two_uploads_of_one_id_end_as_one_file(drive, files):
    file_id = files.generateIds(count=1).execute()["ids"][0]
    calls = [files.create(body={"name": "a.jpg", "id": file_id}, media_body=body_of(
        picture(100), resumable=True)) for _ in range(2)]
    drive.fault("short308", where="chunk", count=2)
    for call in calls:
        assert call.next_chunk()[1] is None
    assert calls[0].next_chunk()[1]["id"] == file_id
    with pytest.raises(HttpError) as e:
        calls[1].next_chunk()
    assert e.value.resp.status == 409
    assert len(drive.pictures()) == 1


def test_ids_that_were_not_given_out_are_refused(files):
    ids = files.generateIds(count=1, type="shortcuts").execute()["ids"]
    assert refusal(files.create(body={"name": "a", "id": "1made-up"})) == (400, "invalid")
    assert refusal(files.create(body={"name": "a", "id": ids[0]})) == (400, "invalid")
    assert refusal(files.generateIds(count=1001)) == (400, "invalidParameter")
    document = {"name": "a", "mimeType": "application/vnd.google-apps.document",
                "id": files.generateIds(count=1).execute()["ids"][0]}
    assert refusal(files.create(body=document)) == (400, "invalid")


# ---- lists ----

def test_pages_have_each_file_once_and_newest_first(drive, files):
    parent = folder(files)
    made = [files.create(body={"name": f"{i}", "parents": [parent]}).execute()["id"]
            for i in range(25)]
    call = files.list(q=f"'{parent}' in parents", pageSize=7, fields="nextPageToken,files(id)")
    seen, sizes = [], []
    while call is not None:
        answer = call.execute()
        seen += [f["id"] for f in answer["files"]]
        sizes.append(len(answer["files"]))
        call = files.list_next(call, answer)
    assert seen == made[::-1]
    assert sizes == [7, 7, 7, 4]


def test_moving_between_two_pages_makes_files_be_missed(files):
    parent, other = folder(files), folder(files, "other")
    for i in range(20):
        files.create(body={"name": f"{i}", "parents": [parent]}).execute()
    call = files.list(q=f"'{parent}' in parents", pageSize=10, fields="nextPageToken,files(id)")
    answer = call.execute()
    for file in answer["files"]:
        files.update(fileId=file["id"], addParents=other, removeParents=parent).execute()
    assert files.list_next(call, answer).execute()["files"] == []


def test_a_page_token_belongs_to_its_question(files):
    for i in range(3):
        files.create(body={"name": f"{i}"}).execute()
    token = files.list(pageSize=1, fields="nextPageToken").execute()["nextPageToken"]
    assert refusal(files.list(pageSize=1, q="trashed=false", pageToken=token)) == (400, "invalid")
    assert refusal(files.list(pageToken="x")) == (400, "invalid")
    for size in (0, 1001):
        assert refusal(files.list(pageSize=size)) == (400, "invalidParameter")


def test_an_empty_page_can_have_a_next_one(drive, files):
    files.create(body={"name": "a"}).execute()
    drive.fault("empty_page", where="list", nth=1)
    call = files.list(fields="nextPageToken,files(name)")
    answer = call.execute()
    assert answer["files"] == []
    assert files.list_next(call, answer).execute() == {"files": [{"name": "a"}]}


def test_lists_can_be_ordered_and_late(drive, files):
    for name, created in (("b", 3), ("a", 1), ("c", 2)):
        files.create(body={"name": name, "createdTime": f"2026-01-0{created}T00:00:00Z"}).execute()

    def order(by):
        found = files.list(orderBy=by, fields="files(name)").execute()["files"]
        return "".join(f["name"] for f in found)

    assert (order("name"), order("createdTime"), order("createdTime desc")) == ("abc", "acb", "bca")
    assert refusal(files.list(orderBy="colour")) == (400, "invalid")
    drive.set(list_lag_s=3600)
    late = files.create(body={"name": "d"}).execute()
    assert order("name") == "abc"
    assert files.get(fileId=late["id"]).execute()["name"] == "d"


@pytest.mark.parametrize("name", ["plain.jpg", "it's", "back\\slash", "\\'", "''", "a\"b", "ü 雨",
                                  "x and y", "') or trashed = true or (name = '"])
def test_names_can_be_quoted(files, name):
    files.create(body={"name": name}).execute()
    files.create(body={"name": "other"}).execute()
    quoted = name.replace("\\", "\\\\").replace("'", "\\'")
    assert names(files, f"name = '{quoted}'") == [name]
    assert names(files, f"name != '{quoted}'") == ["other"]


def test_questions_are_answered(files):
    top = folder(files, "top")
    inner = folder(files, "inner", parents=[top])
    files.create(body={"name": "one_day.jpg", "mimeType": "image/jpeg", "parents": [top],
                       "appProperties": {"sd_key": "1"}, "starred": True,
                       "createdTime": "2026-01-01T00:00:00Z"}).execute()
    two = files.create(body={"name": "two.png", "mimeType": "image/png", "parents": [inner],
                             "appProperties": {"sd_key": "2", "it's": "\\"},
                             "createdTime": "2026-02-01T00:00:00Z"}).execute()["id"]
    files.update(fileId=two, body={"trashed": True}).execute()
    for question, found in [
        ("", ["inner", "one_day.jpg", "top", "two.png"]),
        ("trashed = false", ["inner", "one_day.jpg", "top"]),
        ("trashed=true", ["two.png"]),
        ("trashed != true", ["inner", "one_day.jpg", "top"]),
        ("'root' in parents", ["top"]),
        (f"'{top}' in parents", ["inner", "one_day.jpg"]),
        (f"'{top}' in parents and mimeType != '{FOLDER}'", ["one_day.jpg"]),
        (f"'{top}' in parents or name = 'two.png'", ["inner", "one_day.jpg", "two.png"]),
        (f"not '{top}' in parents", ["top", "two.png"]),
        (f"name='top' and '{top}' in parents", []),
        (f"name='top' or name='inner' and '{top}' in parents", ["inner", "top"]),
        (f"(name='top' or name='inner') and '{top}' in parents", ["inner"]),
        ("appProperties has { key='sd_key' and value='1' }", ["one_day.jpg"]),
        ("appProperties has {key='it\\'s' and value='\\\\'}", ["two.png"]),
        ("not (starred = true or mimeType contains 'folder')", ["two.png"]),
        ("name contains 'day'", ["one_day.jpg"]),
        ("name contains 'ay'", []),
        ("createdTime > '2026-01-15T00:00:00' and createdTime < '2026-02-15T00:00:00Z'",
         ["two.png"]),
        ("createdTime <= '2026-01-01T01:00:00+01:00'", ["one_day.jpg"]),
    ]:
        assert names(files, question) == found, question


@pytest.mark.parametrize("question", [
    "name = \"a\"", "name = 'a", "name 'a'", "name == 'a'", "title = 'a'", "trashed = 'false'",
    "'a' in parent", "name = 'a' and", "(name = 'a'", "name = 'a')", "name = 'a' name = 'b'",
    "appProperties has { key='a' }", "name < 'a'", "name = 'a\\n'", "createdTime > 'yesterday'"])
def test_bad_questions_are_refused(files, question):
    assert refusal(files.list(q=question)) == (400, "invalid")


# ---- moving, stars, shortcuts, the trash ----

def test_a_file_moves_and_has_one_parent(files):
    old, new = folder(files, "old"), folder(files, "new")
    file_id = files.create(body={"name": "a", "parents": [old]}).execute()["id"]
    assert refusal(files.update(fileId=file_id, addParents=new)) == (403, "cannotAddParent")
    assert refusal(files.update(fileId=file_id, body={"parents": [new]})) == (
        403, "fieldNotWritable")
    assert refusal(files.update(fileId=file_id, addParents=old, removeParents=old)) == (
        400, "badRequest")
    assert refusal(files.update(fileId=file_id, addParents="nowhere", removeParents=old)) == (
        404, "notFound")
    assert refusal(files.create(body={"name": "b", "parents": [old, new]})) == (
        403, "cannotAddParent")
    moved = files.update(fileId=file_id, addParents=new, removeParents=old,
                         fields="parents").execute()
    assert moved == {"parents": [new]}
    # The same again, as after a lost answer: the old one is no parent any more.
    assert refusal(files.update(fileId=file_id, addParents=new, removeParents=old))[0] == 400
    assert refusal(files.update(fileId=old, addParents=old, removeParents="root")) == (
        400, "badRequest")


def test_changes_are_kept_and_times_are_not_changed(files):
    made = files.create(body={"name": "a", "appProperties": {"a": "1", "b": "2"},
                              "createdTime": "2020-01-01T00:00:00Z"}).execute()
    assert refusal(files.update(fileId=made["id"], body={"createdTime": "2021-01-01T00:00:00Z"})
                   ) == (403, "fieldNotWritable")
    assert refusal(files.create(body={"name": "a", "createdTime": "yesterday"})) == (
        400, "invalid")
    assert refusal(files.create(body={"name": "a", "appProperties": {"k": "v" * 124}})) == (
        400, "invalid")
    files.update(fileId=made["id"], body={"name": "b", "starred": True, "appProperties": {
        "a": None, "c": "v" * 123}}).execute()
    now = files.get(fileId=made["id"], fields=FIELDS).execute()
    assert (now["name"], now["starred"], now["createdTime"]) == (
        "b", True, "2020-01-01T00:00:00.000Z")
    assert now["appProperties"] == {"b": "2", "c": "v" * 123}


def test_shortcuts_point_to_files(files):
    target = files.create(body={"name": "a", "mimeType": "image/jpeg"}).execute()["id"]
    file_id = files.generateIds(count=1, type="shortcuts").execute()["ids"][0]
    meta = {"name": "a", "id": file_id, "mimeType": SHORTCUT,
            "shortcutDetails": {"targetId": target}}
    made = files.create(body=meta, fields="id,shortcutDetails/targetMimeType,size").execute()
    assert made == {"id": file_id, "shortcutDetails": {"targetMimeType": "image/jpeg"}}
    assert refusal(files.create(body=meta)) == (409, "fileIdInUse")
    meta.pop("id")
    assert refusal(files.create(body={**meta, "shortcutDetails": {"targetId": "no"}}))[0] == 404
    assert refusal(files.create(body={**meta, "shortcutDetails": {}}))[0] == 400
    assert names(files, f"mimeType != '{SHORTCUT}'") == ["a"]
    assert len(names(files, "")) == 2


def test_what_is_in_a_trashed_folder_is_trashed(drive, files):
    parent = folder(files)
    inside = files.create(body={"name": "a", "parents": [parent]}).execute()["id"]
    drive.trash(parent)
    assert files.get(fileId=inside, fields="trashed,explicitlyTrashed").execute() == {
        "trashed": True, "explicitlyTrashed": False}
    assert names(files, f"'{parent}' in parents and trashed = false") == []
    # Drive takes files into the trash as into any folder.
    late = files.create(body={"name": "b", "parents": [parent]}, fields="trashed").execute()
    assert late == {"trashed": True}
    drive.untrash(parent)
    assert names(files, "trashed = false") == ["a", "b", "cameras"]
    files.delete(fileId=parent).execute()
    assert refusal(files.get(fileId=inside)) == (404, "notFound")
    assert refusal(files.create(body={"name": "c", "parents": [parent]})) == (404, "notFound")
    assert refusal(files.list(q=f"'{parent}' in parents")) == (404, "notFound")


def test_folders_have_a_limit(drive, files):
    drive.set(children_max=2)
    parent = folder(files)
    for name in "ab":
        files.create(body={"name": name, "parents": [parent]}).execute()
    assert refusal(files.create(body={"name": "c", "parents": [parent]})) == (
        403, "numChildrenInNonRootLimitExceeded")


def test_only_the_apps_own_files_are_seen(drive, files):
    strange = drive.add("cameras", mimeType=FOLDER, ours=False)
    assert names(files, "name = 'cameras'") == []
    assert refusal(files.get(fileId=strange)) == (404, "notFound")
    drive.add_client(client_id="333", secret="s", project="another")
    mine = files.create(body={"name": "a"}).execute()["id"]
    assert refusal(service_of(drive, client_id="333").files().get(fileId=mine))[0] == 404
    everything = service_of(drive, client_id="333", scope=oauth.DRIVE).files()
    assert names(everything, "") == ["a", "cameras"]


# ---- fields, quota, errors ----

@pytest.mark.parametrize("fields", ["files(id", "files(id,nope)", "nope", "files/nope", "id",
                                    "files(id))", "files(size/x)", " ", "a b"])
def test_unknown_fields_are_refused(files, fields):
    assert refusal(files.list(fields=fields)) == (400, "invalidParameter")


def test_answers_have_what_was_asked_for(files):
    made = files.create(body={"name": "a"}).execute()
    assert sorted(made) == ["id", "kind", "mimeType", "name"]
    for fields, found in [("*", None), ("id", ["id"]),
                          ("owners(emailAddress),id", ["id", "owners"]),
                          ("owners/me", ["owners"]), ("size", ["size"]), ("trashedTime", [])]:
        got = files.get(fileId=made["id"], fields=fields).execute()
        assert found is None or sorted(got) == found
    got = files.get(fileId=made["id"], fields="webViewLink").execute()
    assert made["id"] in got["webViewLink"]


def test_a_full_account_takes_nothing_but_folders(drive, files):
    service = service_of(drive)
    files.create(body={"name": "a"}, media_body=body_of(picture(600))).execute()
    drive.set(quota_limit=1000)
    for resumable in (False, True):
        assert refusal(files.create(body={"name": "b"}, media_body=body_of(
            picture(600), resumable=resumable))) == (403, "storageQuotaExceeded")
    folder(files)
    quota = service.about().get(fields="storageQuota,user/emailAddress").execute()
    assert quota["storageQuota"] == {"limit": "1000", "usage": "600", "usageInDrive": "600",
                                     "usageInDriveTrash": "0"}
    assert quota["user"] == {"emailAddress": oauth.ACCOUNT}
    assert refusal(service.about().get()) == (400, "required")


@pytest.mark.parametrize("reason", sorted(faults.REASONS))
def test_each_reason_reaches_the_client(drive, files, reason):
    drive.fault(reason, where="create", after=1)
    files.create(body={"name": "a"}).execute()
    assert refusal(files.create(body={"name": "b"})) == (faults.REASONS[reason][0], reason)
    drive.clear()
    files.create(body={"name": "c"}).execute()
    assert [f["name"] for f in drive.files()] == ["a", "c"]


def test_what_google_would_ignore_is_noted(drive, files):
    files.create(body={"name": "a", "colour": "red"}).execute()
    assert [o["what"] for o in drive.oddities()] == ["unknown field colour"]
    drive.odd.clear()


# ---- logins ----

@pytest.mark.filterwarnings("ignore:Cannot access")  # the store is empty at first
def test_an_expired_login_is_refreshed_by_oauth2client(drive, tmp_path):
    store = Storage(str(tmp_path / "creds"))
    credentials = login(drive, expired=True)
    credentials.set_store(store)
    files = build_from_document(discovery(drive.origin()),
                                http=credentials.authorize(build_http())).files()
    files.list().execute()
    assert drive.count()["refreshes"] == 1
    drive.expire_tokens()  # it learns that by a 401
    files.list().execute()
    assert drive.count()["refreshes"] == 2
    assert store.get().access_token == credentials.access_token
    drive.set(clock_offset_s=3601)  # expired for us, not for the client
    files.list().execute()
    assert drive.count()["refreshes"] == 3


def test_a_revoked_login_says_invalid_grant(drive):
    credentials = login(drive)
    files = build_from_document(discovery(drive.origin()),
                                http=credentials.authorize(build_http())).files()
    drive.revoke_tokens()
    with pytest.raises(oauth2client.HttpAccessTokenRefreshError, match="invalid_grant"):
        files.list().execute()
    other = login(drive)
    other.revoke(httplib2.Http())
    with pytest.raises(oauth2client.HttpAccessTokenRefreshError, match="invalid_grant"):
        other.refresh(httplib2.Http())


def test_a_login_for_testing_dies_after_a_week(drive):
    drive.set(refresh_life_s=7 * 86400)
    credentials = login(drive)
    assert drive.issue()["refresh_token_expires_in"] == 7 * 86400
    credentials.refresh(httplib2.Http())
    drive.set(clock_offset_s=7 * 86400 + 1)
    with pytest.raises(oauth2client.HttpAccessTokenRefreshError, match="invalid_grant"):
        credentials.refresh(httplib2.Http())


def test_refreshing_can_fail_and_rotate(drive):
    drive.set(rotate_refresh=True)
    credentials = login(drive)
    before = credentials.refresh_token
    drive.fault("error", where="token", status=503, form="html", nth=1)
    with pytest.raises(oauth2client.HttpAccessTokenRefreshError):
        credentials.refresh(httplib2.Http())
    credentials.refresh(httplib2.Http())
    assert credentials.refresh_token != before
    credentials.client_secret = "wrong"
    with pytest.raises(oauth2client.HttpAccessTokenRefreshError, match="invalid_client"):
        credentials.refresh(httplib2.Http())


def device_flow(drive, client, scope=oauth.DRIVE_FILE):
    return oauth2client.OAuth2WebServerFlow(
        client["id"], client["secret"], scope, redirect_uri="",
        device_uri=drive.origin() + "/device/code", token_uri=drive.origin() + "/token",
        revoke_uri=drive.origin() + "/revoke", auth_uri=drive.origin() + "/o/oauth2/v2/auth")


def test_the_device_flow_by_oauth2client(drive):
    drive.set(device_interval_s=0)
    flow = device_flow(drive, oauth.DEVICE_CLIENT)
    codes = flow.step1_get_device_and_user_codes()
    assert codes.verification_url == drive.origin() + "/device"
    assert drive.pending_codes() == [codes.user_code]
    with pytest.raises(oauth2client.FlowExchangeError, match="authorization_pending"):
        flow.step2_exchange(device_flow_info=codes)
    assert drive.approve(codes.user_code.lower())
    credentials = flow.step2_exchange(device_flow_info=codes)
    assert credentials.refresh_token
    with pytest.raises(oauth2client.FlowExchangeError, match="invalid_grant"):
        flow.step2_exchange(device_flow_info=codes)  # used
    denied = flow.step1_get_device_and_user_codes()
    drive.approve(denied.user_code, allow=False)
    with pytest.raises(oauth2client.FlowExchangeError, match="access_denied"):
        flow.step2_exchange(device_flow_info=denied)
    late = flow.step1_get_device_and_user_codes()
    drive.set(clock_offset_s=1801)
    with pytest.raises(oauth2client.FlowExchangeError, match="expired_token"):
        flow.step2_exchange(device_flow_info=late)


def test_polling_too_fast_is_told_to_slow_down(drive):
    flow = device_flow(drive, oauth.DEVICE_CLIENT)
    codes = flow.step1_get_device_and_user_codes()
    with pytest.raises(oauth2client.FlowExchangeError, match="authorization_pending"):
        flow.step2_exchange(device_flow_info=codes)
    with pytest.raises(oauth2client.FlowExchangeError, match="slow_down"):
        flow.step2_exchange(device_flow_info=codes)
    drive.set(clock_offset_s=5)
    with pytest.raises(oauth2client.FlowExchangeError, match="authorization_pending"):
        flow.step2_exchange(device_flow_info=codes)


@pytest.mark.parametrize("client, scope, error", [
    (oauth.DESKTOP_CLIENT, oauth.DRIVE_FILE, "invalid_client"),
    ({"id": "unknown", "secret": ""}, oauth.DRIVE_FILE, "invalid_client"),
    (oauth.DEVICE_CLIENT, oauth.DRIVE, "invalid_scope")])
def test_the_device_flow_has_its_own_clients_and_scopes(drive, client, scope, error):
    with pytest.raises(oauth2client.OAuth2DeviceCodeError, match=error):
        device_flow(drive, client, scope).step1_get_device_and_user_codes()


def loopback_flow(drive, pkce=True, redirect="http://127.0.0.1:54321/", **more):
    client = oauth.DESKTOP_CLIENT
    return oauth2client.OAuth2WebServerFlow(
        client["id"], client["secret"], oauth.DRIVE_FILE, redirect_uri=redirect, pkce=pkce,
        token_uri=drive.origin() + "/token", auth_uri=drive.origin() + "/o/oauth2/v2/auth", **more)


def follow(url):
    """What the browser gets: status, and the parameters of the redirect."""
    http = httplib2.Http()
    http.follow_redirects = False
    answer, body = http.request(url)
    place = answer.get("location", "?")
    query = httplib2.urllib.parse.parse_qs(place.partition("?")[2])
    return answer.status, {k: v[0] for k, v in query.items()}, body


def test_the_loopback_flow_by_oauth2client(drive):
    flow = loopback_flow(drive)
    status, query, _ = follow(flow.step1_get_authorize_url(state="s t&a"))
    assert status == 302 and query["state"] == "s t&a" and query["scope"] == oauth.DRIVE_FILE
    credentials = flow.step2_exchange(query["code"])
    assert credentials.refresh_token
    with pytest.raises(oauth2client.FlowExchangeError, match="invalid_grant"):
        flow.step2_exchange(query["code"])
    # The second consent gives no refresh token unless it is asked for.
    _, query, _ = follow(flow.step1_get_authorize_url())
    assert flow.step2_exchange(query["code"]).refresh_token is None
    again = loopback_flow(drive, prompt="consent")
    _, query, _ = follow(again.step1_get_authorize_url())
    assert again.step2_exchange(query["code"]).refresh_token


def test_the_code_verifier_counts(drive):
    flow = loopback_flow(drive)
    _, query, _ = follow(flow.step1_get_authorize_url())
    flow.code_verifier = b"x" * 43
    with pytest.raises(oauth2client.FlowExchangeError, match="invalid_grant"):
        flow.step2_exchange(query["code"])


def test_the_page_for_signing_in(drive):
    drive.set(consent="deny")
    assert follow(loopback_flow(drive).step1_get_authorize_url())[1] == {"error": "access_denied"}
    for redirect, words in [("http://example.com/", b"redirect_uri_mismatch"),
                            ("http://127.0.0.1.example.com/", b"redirect_uri_mismatch"),
                            ("urn:ietf:wg:oauth:2.0:oob", b"out-of-band")]:
        status, _, body = follow(loopback_flow(drive, redirect=redirect).step1_get_authorize_url())
        assert status == 400 and words in body
    drive.set(consent="page")
    status, _, body = follow(loopback_flow(drive).step1_get_authorize_url())
    assert status == 200 and b"<form" in body
    drive.set(consent="allow", granted_scope="email")
    flow = loopback_flow(drive)
    _, query, _ = follow(flow.step1_get_authorize_url())
    files = build_from_document(discovery(drive.origin()), http=flow.step2_exchange(
        query["code"]).authorize(build_http())).files()
    assert refusal(files.list()) == (403, "insufficientPermissions")


def test_a_service_account_by_google_auth(drive):
    info = drive.make_service_account()

    def token(scope=oauth.DRIVE_FILE):
        credentials = google.oauth2.service_account.Credentials.from_service_account_info(
            info, scopes=[scope])
        credentials.refresh(google_auth_httplib2.Request(httplib2.Http()))
        return credentials.token

    assert drive.oauth.check(token())["account"] == info["client_email"]
    with pytest.raises(google.auth.exceptions.RefreshError, match="invalid_scope"):
        token("nonsense")
    drive.set(clock_offset_s=2 * 3600)  # our clock or theirs is wrong
    with pytest.raises(google.auth.exceptions.RefreshError, match="short-lived"):
        token()
    drive.set(clock_offset_s=0)
    other = drive.make_service_account()
    assert drive.oauth.check(token) is None
    assert other["private_key"] != info["private_key"]
    # The address is known, but by another key now.
    with pytest.raises(google.auth.exceptions.RefreshError, match="Invalid JWT Signature"):
        token()
