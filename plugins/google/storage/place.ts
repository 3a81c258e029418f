/** Which objects of Cloud Storage are meant, and on whose behalf. */
export interface StoragePlace {
  readonly bucket: string;
  /** Names begin with it; what follows is the key. */
  readonly prefix: string;
  /** Only this object, named in full. */
  readonly object?: string | undefined;
  /** Selected by Cloud Storage, over the full name. */
  readonly matchGlob?: string | undefined;
  readonly include?: readonly string[] | undefined;
  readonly exclude?: readonly string[] | undefined;
  readonly userProject?: string | undefined;
  /** The name of the identity, for messages. */
  readonly identity: string;
}
