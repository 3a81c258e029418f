import { createCRC32, type IHasher } from 'hash-wasm';

const CASTAGNOLI = 0x82f63b78;

/** A module of its own, so that a bundle holds only this one of the library's many algorithms. */
export const newHasher = (): Promise<IHasher> => createCRC32(CASTAGNOLI);
