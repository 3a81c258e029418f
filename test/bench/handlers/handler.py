"""The function that people write by hand today: the whole object in memory, then one put_object."""
import json
import os

import boto3
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

endpoints = json.loads(os.environ["ISTHMUS_ENDPOINTS"])
gcs = storage.Client(
    project="bench", credentials=AnonymousCredentials(), client_options={"api_endpoint": endpoints["gcs"]}
)
s3 = boto3.client("s3", region_name="eu-west-1", endpoint_url=endpoints["s3"])


def handler(event, context):
    blob = gcs.bucket(event["bucket"]).blob(event["object"])
    if not blob.exists():
        return {"statusCode": 404}
    body = blob.download_as_bytes()
    s3.put_object(Bucket="sink", Key="python/" + event["object"], Body=body)
    return {"statusCode": 200, "body": {"bytes_transferred": len(body)}}
