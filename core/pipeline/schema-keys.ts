import { z } from 'zod';
import { IDENTITY_KINDS, identitySpec } from './identity-spec.ts';
import type { Path } from './plain.ts';

export function readScalar(input: unknown, expected: string): number | boolean | undefined {
  if (typeof input !== 'string') return undefined;
  if (expected === 'boolean' && /^(true|false)$/.test(input)) return input === 'true';
  return ['number', 'int'].includes(expected) && /^-?\d+(\.\d+)?$/.test(input) ? Number(input) : undefined;
}

export function valueAt(value: unknown, path: Path): unknown {
  let at = value;
  for (const step of path) at = (at as Record<PropertyKey, unknown> | undefined)?.[step];
  return at;
}

/** The keys that a schema allows at a path for the value there, as far as they can be told. */
export function keysOf(schema: z.ZodType, path: Path, value: unknown): readonly string[] {
  let at: unknown = schema;
  for (const step of path) at = inner(at, step);
  at = unwrapped(at);
  if (at === identitySpec) {
    const kind = String((value as { readonly kind?: unknown } | undefined)?.kind);
    at = Object.hasOwn(IDENTITY_KINDS, kind) ? IDENTITY_KINDS[kind as keyof typeof IDENTITY_KINDS] : undefined;
  }
  if (at instanceof z.ZodObject) return Object.keys(at.shape);
  return [];
}

function inner(schema: unknown, step: PropertyKey): unknown {
  const at = unwrapped(schema);
  if (at instanceof z.ZodObject) return at.shape[String(step)];
  if (at instanceof z.ZodRecord) return at.valueType;
  return undefined;
}

function unwrapped(schema: unknown): unknown {
  let at = schema;
  while (at instanceof z.ZodOptional || at instanceof z.ZodDefault || at instanceof z.ZodPrefault) at = at.unwrap();
  return at;
}
