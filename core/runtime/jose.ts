import { createRemoteJWKSet, errors, jwtVerify } from 'jose';

/** What is used of it: a bundle then holds no more. */
export const jose = { createRemoteJWKSet, errors, jwtVerify };
