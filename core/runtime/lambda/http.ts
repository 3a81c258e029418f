import { z } from 'zod';
import type { HttpAnswer, HttpRequest } from '../push.ts';

/** An HTTP request, as a Function URL or API Gateway hands it over. */
export type HttpEvent = HttpRequest;

const headers = z.record(z.string(), z.string().nullish()).nullish();
const body = z.string().nullish();

/** Function URLs and HTTP APIs. Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html */
const version2 = z.object({
  version: z.literal('2.0'),
  rawPath: z.string().default('/'),
  headers,
  requestContext: z.object({ http: z.object({ method: z.string() }) }),
  body,
  isBase64Encoded: z.boolean().default(false),
});

/** REST APIs. Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html */
const version1 = z.object({
  httpMethod: z.string(),
  path: z.string().default('/'),
  headers,
  requestContext: z.object({}),
  body,
  isBase64Encoded: z.boolean().default(false),
});

/** Undefined when the event is no HTTP request. */
export function readHttp(event: object): HttpEvent | undefined {
  const two = version2.safeParse(event);
  if (two.success) return request(two.data.requestContext.http.method, two.data.rawPath, two.data);
  const one = version1.safeParse(event);
  return one.success ? request(one.data.httpMethod, one.data.path, one.data) : undefined;
}

function request(
  method: string,
  path: string,
  event: Pick<z.output<typeof version2>, 'headers' | 'body' | 'isBase64Encoded'>,
): HttpEvent {
  // REST APIs pass names on as they were sent.
  const entries = Object.entries(event.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value ?? '']);
  const text = event.body ?? '';
  return {
    method,
    path,
    headers: Object.fromEntries(entries),
    body: event.isBase64Encoded ? Buffer.from(text, 'base64').toString('utf8') : text,
  };
}

export const httpAnswer = ({ status, headers: more = {}, body: answer }: HttpAnswer): object => ({
  statusCode: status,
  headers: { 'content-type': 'application/json', ...more },
  body: JSON.stringify(answer),
  isBase64Encoded: false,
});
