import type { Pipeline } from '../pipeline/validate.ts';
import type { ChainFinding } from './inputs.ts';
import { type Html, html } from './text.ts';

const BOX = { width: 205, height: 64, gap: 96 };

/** Findings about these name the place, and not the identity. */
const PLACES: ReadonlySet<string> = new Set(['source', 'sink', 'state']);
const AUDIENCE = /projects\/([^/]+)\/locations\/global\/workloadIdentityPools\/([^/]+)\/providers\/([^/]+)$/;
const CLOUDS: Readonly<Record<string, string>> = { gcs: 'Cloud Storage', bigquery: 'BigQuery', vertexai: 'Vertex AI' };

interface Box {
  readonly title: string;
  readonly lines: readonly string[];
  readonly findings: readonly ChainFinding[];
}

/** What is said on the arrow to the next box. */
interface Arrow {
  readonly text: string;
}

/** Who becomes whom: the chain of a pipeline from the role that runs it to its source and sink. */
export function chain(pipeline: Pipeline, findings: readonly ChainFinding[]): Html {
  const figures = Object.entries(pipeline.identities).flatMap(([name, identity]) => {
    if (identity.kind !== 'gcp') return [];
    const about = (...steps: readonly string[]): readonly ChainFinding[] =>
      findings.filter(
        ({ step, about: whom }) => steps.includes(step) && (whom === undefined || whom === name || PLACES.has(step)),
      );
    const places = [...pipeline.sources, ...pipeline.sinks].filter(
      ({ config }) => (config as { identity?: string }).identity === name,
    );
    const { expect, serviceAccount, audience = '' } = identity;
    const [, project = '', pool = '', id = ''] = AUDIENCE.exec(audience) ?? [];
    const boxes: Box[] = [
      {
        title: 'AWS role',
        lines:
          expect === undefined
            ? ['of whatever runs it']
            : [expect.roleName ?? '', `account ${expect.awsAccountId ?? 'any'}`],
        findings: about('aws-source', 'aws-identity', 'subject-token'),
      },
      { title: 'Google STS', lines: [`project ${project}`, `${pool} / ${id}`], findings: about('google-sts') },
      ...(serviceAccount === undefined
        ? []
        : [{ title: 'Service account', lines: serviceAccount.split(/(?=@)/), findings: about('impersonation') }]),
      {
        title: CLOUDS[places[0]?.plugin.name ?? ''] ?? 'Google Cloud',
        lines: places.map(({ plugin, config }) => `${plugin.name}: ${placeText(config)}`).slice(0, 2),
        findings: about('downscoping', 'google-identity', ...places.map(({ plugin }) => plugin.kind)),
      },
    ];
    const arrows: Arrow[] = [
      { text: 'signed request' },
      { text: serviceAccount === undefined ? 'token, 1 h' : 'federated token' },
      { text: 'token, 1 h' },
    ];
    return [drawn(name, boxes, arrows)];
  });
  const aws = pipeline.sinks.filter(({ plugin }) => plugin.name === 's3').map(({ config }) => placeText(config));
  const none = html`<p>No identity of Google Cloud: nothing to federate.</p>`;
  return html`<section><h2>The keyless chain</h2>${figures.length === 0 ? none : figures}
${aws.length === 0 ? undefined : html`<p>The sink ${aws.join(', ')} is written with the AWS identity itself, or the role that it assumes. No key is stored anywhere.</p>`}
${findings.length === 0 ? html`<p class="quiet">How each step fares: <code>isthmus doctor pipeline.yaml --json &gt; doctor.json</code>, and name that file too.</p>` : table(findings)}</section>`;
}

const placeText = (config: object): string => {
  const { bucket, prefix = '', project, table, path } = config as Readonly<Record<string, string | undefined>>;
  return bucket === undefined ? (path ?? [project, table].filter(Boolean).join('.')) : `${bucket}/${prefix}`;
};

function drawn(name: string, boxes: readonly Box[], arrows: readonly Arrow[]): Html {
  const { width, height, gap } = BOX;
  const full = boxes.length * width + (boxes.length - 1) * gap + 20;
  const shapes = boxes.map(({ title, lines, findings }, index) => {
    const x = 10 + index * (width + gap);
    const worst = findings.some(({ verdict }) => verdict === 'fail') ? 'fails' : findings.length > 0 ? 'passes' : '';
    const texts = lines.map(
      (line, place) => html`<text x="${x + 12}" y="${44 + place * 15}" class="small">${cut(line)}</text>`,
    );
    const arrow = arrows[index];
    const from = x + width;
    const next =
      index === boxes.length - 1 || arrow === undefined
        ? undefined
        : html`<line class="arrow" x1="${from + 2}" x2="${from + gap - 8}" y1="44" y2="44" marker-end="url(#head)"/><text class="tiny" x="${from + gap / 2}" y="36" text-anchor="middle">${arrow.text}</text>`;
    return html`<rect class="box ${worst}" x="${x}" y="10" width="${width}" height="${height}" rx="6"/><text x="${x + 12}" y="28" class="bold">${title}</text>${texts}${next}`;
  });
  return html`<figure><svg role="img" aria-label="How identity ${name} is obtained" viewBox="0 0 ${full} ${height + 20}"><defs><marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker></defs>${shapes}</svg><figcaption>Identity <code>${name}</code>: each arrow is asked for anew, and nothing on the way is stored.</figcaption></figure>`;
}

const cut = (text: string): string => (text.length > 32 ? `${text.slice(0, 31)}…` : text);

function table(findings: readonly ChainFinding[]): Html {
  const rows = findings.map(
    ({ verdict, step, detail, fix, about }) =>
      html`<tr><td><span class="badge ${verdict}">${verdict}</span></td><th scope="row" class="step">${step}</th><td>${about === undefined ? '' : `${about}: `}${detail}${fix === undefined ? undefined : html`<br><strong>Fix:</strong> ${fix}`}</td></tr>`,
  );
  return html`<table><caption>What isthmus doctor found</caption><tbody>${rows}</tbody></table>`;
}
