import { z } from 'zod';

const claimsSchema = z.object({
  iss: z.string().optional(),
  sub: z.string().optional(),
  aud: z.union([z.string(), z.array(z.string())]).optional(),
  azp: z.string().optional(),
  email: z.string().optional(),
  exp: z.number().optional(),
});

export type JwtClaims = z.output<typeof claimsSchema>;

/** What a JWT says of itself, **unverified**: good for advice, never for a decision about access. */
export function jwtClaims(token: string): JwtClaims | undefined {
  try {
    const payload: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
    return claimsSchema.safeParse(payload).data;
  } catch {
    return undefined;
  }
}
