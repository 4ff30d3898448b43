#!/bin/sh
# s3fs 2026.9.0, cloudpathlib 0.26.0, pyarrow 26.0.1 and obstore 0.12.1 publish what an error left half written.
#
# An object in S3 appears when its upload is completed, so a file is thought to be there whole or not at all. Where an
# error leaves the `with` block of the writer, these complete the upload, and the half takes the place of the object of
# before. smart_open gives the upload up, and so does obstore's own writer, but not the one it has for fsspec.
#
# For a batch: a step that fails while it writes replaces good answers with half of the new ones, and looks done.
#
#> before: the whole file of yesterday
#> s3fs 2026.9.0: half of the
#> cloudpathlib 0.26.0: half of the
#> pyarrow 26.0.1: half of the
#> obstore 0.12.1, fsspec: half of the
#> obstore 0.12.1, open_writer: the whole file of yesterday
#> smart_open 9.0.2: the whole file of yesterday
. "$(dirname "$0")/support/check.sh"
install 'moto[server]==5.2.5' s3fs==2026.9.0 cloudpathlib==0.26.0 pyarrow==26.0.1 obstore==0.12.1 smart_open==9.0.2
check <<'EOF'
import logging
import os
import warnings
from importlib.metadata import version

from moto.server import ThreadedMotoServer

warnings.simplefilter("ignore")
logging.disable()
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
os.environ.update(AWS_ACCESS_KEY_ID="unused", AWS_SECRET_ACCESS_KEY="unused", AWS_DEFAULT_REGION="us-east-1")

import boto3
import obstore
import s3fs
import smart_open
from cloudpathlib import S3Client
from obstore.fsspec import FsspecStore
from obstore.store import S3Store
from pyarrow.fs import S3FileSystem

direct = boto3.client("s3", endpoint_url=url)
direct.create_bucket(Bucket="answers")
PLAIN = {"allow_http": True}
writers = {
    "s3fs": lambda: s3fs.S3FileSystem(endpoint_url=url).open("answers/rows.jsonl", "wb"),
    "cloudpathlib": lambda: S3Client(endpoint_url=url).CloudPath("s3://answers/rows.jsonl").open(
        "wb", force_overwrite_to_cloud=True),
    "pyarrow": lambda: S3FileSystem(endpoint_override=f"{host}:{port}", scheme="http").open_output_stream(
        "answers/rows.jsonl"),
    "obstore, fsspec": lambda: FsspecStore("s3", endpoint=url, client_options=PLAIN).open("answers/rows.jsonl", "wb"),
    "obstore, open_writer": lambda: obstore.open_writer(
        S3Store("answers", endpoint=url, client_options=PLAIN), "rows.jsonl"),
    "smart_open": lambda: smart_open.open("s3://answers/rows.jsonl", "wb", transport_params={"client": direct}),
}  # fmt: skip


def stored() -> str:
    return direct.get_object(Bucket="answers", Key="rows.jsonl")["Body"].read().decode()


for name, opened in writers.items():
    direct.put_object(Bucket="answers", Key="rows.jsonl", Body=b"the whole file of yesterday")
    if name == "s3fs":
        print("before:", stored())
    try:
        with opened() as file:
            file.write(b"half of the")
            raise ValueError("the next row cannot be written")
    except ValueError:
        pass
    package, *way = name.split(", ")
    print(", ".join([f"{package} {version(package)}", *way]) + ":", stored())
server.stop()
EOF
