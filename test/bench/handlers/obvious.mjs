/** The same function, written the obvious way in Node.js: the stream of one SDK into the uploader of the other. */
import process from 'node:process';
import { S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { Storage } from '@google-cloud/storage';

const { gcs, s3 } = JSON.parse(process.env.ISTHMUS_ENDPOINTS);
const storage = new Storage({ apiEndpoint: gcs, projectId: 'bench', useAuthWithCustomEndpoint: false });
const client = new S3Client({ region: 'eu-west-1', endpoint: s3, forcePathStyle: true });

export const handler = async ({ bucket, object }) => {
  const file = storage.bucket(bucket).file(object);
  const [exists] = await file.exists();
  if (!exists) return { statusCode: 404 };
  const upload = new Upload({
    client,
    params: { Bucket: 'sink', Key: `obvious/${object}`, Body: file.createReadStream() },
  });
  await upload.done();
  return { statusCode: 200, body: { source: `gs://${bucket}/${object}`, destination: `s3://sink/obvious/${object}` } };
};
