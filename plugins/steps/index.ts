export { checksum } from './checksum.ts';
export { encrypt } from './encrypt.ts';
export { filter } from './filter.ts';
export { gunzip, gzip } from './gzip.ts';
export { rename } from './rename.ts';
export { zstd } from './zstd.ts';
