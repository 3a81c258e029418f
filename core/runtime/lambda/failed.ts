/** What an invocation that fails throws: Lambda shows the name as `errorType`, so that callers can tell failures apart. */
export class InvocationFailed extends Error {
  constructor(kind: string, message: string) {
    super(message);
    this.name = `Isthmus.${kind}`;
    // The trace would only show this file.
    this.stack = `${this.name}: ${message}`;
  }
}
