"""A bucket carried by the function that people write by hand: each object whole in memory, one after the other."""
import json
import os
import sys

import boto3
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

endpoints = json.loads(os.environ["ISTHMUS_ENDPOINTS"])
bucket, prefix, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
gcs = storage.Client(
    project="bench", credentials=AnonymousCredentials(), client_options={"api_endpoint": endpoints["gcs"]}
)
s3 = boto3.client("s3", region_name="eu-west-1", endpoint_url=endpoints["s3"])
for blob in gcs.list_blobs(bucket, max_results=most):
    s3.put_object(Bucket="sink", Key=prefix + blob.name, Body=blob.download_as_bytes())
