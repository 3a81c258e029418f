import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob';

/** Of Azurite: known to everybody. Source: https://learn.microsoft.com/azure/storage/common/storage-use-azurite#well-known-storage-account-and-key */
const ACCOUNT = 'devstoreaccount1';
const KEY = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

/** Starts Microsoft's emulator of Azure Storage. */
export async function startAzurite() {
  const folder = await mkdtemp(join(tmpdir(), 'azurite-'));
  const main = join(dirname(createRequire(import.meta.url).resolve('azurite/package.json')), 'dist/src/blob/main.js');
  const args = [
    '--blobHost',
    '127.0.0.1',
    '--blobPort',
    '0',
    '--location',
    folder,
    '--disableTelemetry',
    '--skipApiVersionCheck',
  ];
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const endpoint = await new Promise<string>((resolve, reject) => {
    let said = '';
    child.stdout.on('data', (chunk) => {
      said += String(chunk);
      const url = /listens on (http:\/\/[\d.]+:\d+)/i.exec(said)?.[1];
      if (url !== undefined) resolve(url);
    });
    child.once('exit', (code) => reject(new Error(`Azurite ended with ${code}: ${said}`)));
  });
  const service = new BlobServiceClient(`${endpoint}/${ACCOUNT}`, new StorageSharedKeyCredential(ACCOUNT, KEY));
  let containers = 0;
  return {
    account: ACCOUNT,
    endpoint,
    /** A new container that anybody may read. */
    async container() {
      const name = `container-${++containers}`;
      const { containerClient: client } = await service.createContainer(name, { access: 'container' });
      return {
        name,
        put: async (key: string, bytes: Buffer): Promise<void> =>
          void (await client.getBlockBlobClient(key).uploadData(bytes, { metadata: { owner: 'suite' } })),
        remove: async (key: string): Promise<void> => void (await client.deleteBlob(key)),
      };
    },
    async stop(): Promise<void> {
      child.kill();
      await once(child, 'close');
      await rm(folder, { recursive: true, force: true });
    },
  };
}
