/** A bucket carried the obvious way in Node.js: the stream of one SDK into the uploader of the other, 16 at once. */
import process from 'node:process';
import { S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { Storage } from '@google-cloud/storage';

const { gcs, s3 } = JSON.parse(process.env.ISTHMUS_ENDPOINTS);
const [bucket, prefix, most] = process.argv.slice(2);
const storage = new Storage({ apiEndpoint: gcs, projectId: 'bench', useAuthWithCustomEndpoint: false });
const client = new S3Client({ region: 'eu-west-1', endpoint: s3, forcePathStyle: true });
const [files] = await storage.bucket(bucket).getFiles();
const wanted = files.slice(0, Number(most)).values();
const worker = async () => {
  for (const file of wanted) {
    const params = { Bucket: 'sink', Key: prefix + file.name, Body: file.createReadStream() };
    await new Upload({ client, params }).done();
  }
};
await Promise.all(Array.from({ length: 16 }, worker));
