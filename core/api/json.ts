/** What JSON can hold. Items, plans, receipts and state are made of it, so they can cross processes. */
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue };
