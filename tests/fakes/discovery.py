"""What python3-googleapi has to know of the Drive API to speak it to an origin of ours, written
from the reference and only as far as the tests need it."""

FILE_PARAMETER = {"fileId": {"type": "string", "location": "path", "required": True}}


def parameter(kind="string", **more):
    return {"type": kind, "location": "query", **more}


def method(identity, verb, path, parameters=None, body=None, answer="File", **more):
    order = [name for name, p in (parameters or {}).items() if p.get("required")]
    described = {"id": f"drive.files.{identity}", "path": path, "httpMethod": verb,
                 "parameters": parameters or {}, "parameterOrder": order, **more}
    if body:
        described["request"] = {"$ref": body}
    if answer:
        described["response"] = {"$ref": answer}
    return described


def media(path):
    return {"supportsMediaUpload": True, "mediaUpload": {
        "accept": ["*/*"], "maxSize": "5120GB", "protocols": {
            "simple": {"multipart": True, "path": "/upload/drive/v3/" + path},
            "resumable": {"multipart": True, "path": "/resumable/upload/drive/v3/" + path}}}}


def schema(name, /, **properties):
    return {"id": name, "type": "object", "properties": properties}


def discovery(origin):
    text, flag, number = {"type": "string"}, {"type": "boolean"}, {"type": "integer"}
    texts = {"type": "array", "items": text}
    table = {"type": "object", "additionalProperties": text}
    parents = {"addParents": parameter(), "removeParents": parameter()}
    listing = {name: parameter() for name in ("q", "pageToken", "orderBy", "spaces")}
    listing["pageSize"] = parameter("integer", format="int32")
    return {
        "kind": "discovery#restDescription", "id": "drive:v3", "name": "drive", "version": "v3",
        "rootUrl": origin + "/", "servicePath": "drive/v3/", "baseUrl": origin + "/drive/v3/",
        "batchPath": "batch/drive/v3",
        "parameters": {"alt": parameter(default="json"), "fields": parameter(),
                       "prettyPrint": parameter("boolean")},
        "schemas": {
            "File": schema("File", id=text, name=text, mimeType=text, parents=texts, size=text,
                           md5Checksum=text, createdTime=text, starred=flag, trashed=flag,
                           appProperties=table, webViewLink=text,
                           shortcutDetails={"type": "object", "properties": {"targetId": text}}),
            "FileList": schema("FileList", nextPageToken=text, incompleteSearch=flag,
                               files={"type": "array", "items": {"$ref": "File"}}),
            "GeneratedIds": schema("GeneratedIds", ids=texts, space=text),
            "About": schema("About", user=table, storageQuota=table, maxImportSizes=number),
        },
        "resources": {
            "about": {"methods": {"get": {
                "id": "drive.about.get", "path": "about", "httpMethod": "GET",
                "response": {"$ref": "About"}}}},
            "files": {"methods": {
                "create": method("create", "POST", "files", {}, "File", **media("files")),
                "get": method("get", "GET", "files/{fileId}", FILE_PARAMETER,
                              supportsMediaDownload=True),
                "list": method("list", "GET", "files", listing, answer="FileList"),
                "update": method("update", "PATCH", "files/{fileId}",
                                 {**FILE_PARAMETER, **parents}, "File",
                                 **media("files/{fileId}")),
                "delete": method("delete", "DELETE", "files/{fileId}", FILE_PARAMETER,
                                 answer=None),
                "generateIds": method(
                    "generateIds", "GET", "files/generateIds",
                    {"count": parameter("integer", format="int32"), "space": parameter(),
                     "type": parameter()}, answer="GeneratedIds"),
            }},
        },
    }
