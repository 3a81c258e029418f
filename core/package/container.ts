import type { Deployment } from './deployment.ts';

/** Of distroless `nonroot`. */
export const USER = 65_532;
/** What a clean stop may take; platforms allow up to two minutes. */
export const STOP_SECONDS = 110;

/** Source: https://github.com/GoogleContainerTools/distroless */
export const DOCKERFILE = `# Made by \`isthmus package\`; yours from here on.
# Nothing is installed: the bundle is all there is. No shell, no root, and it runs with a read-only root:
#   docker run --read-only --cap-drop ALL NAME            runs the pipeline once
#   docker run --read-only --cap-drop ALL -p 8080:8080 NAME serve     waits for pushes
ARG BASE=gcr.io/distroless/nodejs24-debian13:nonroot
FROM \${BASE}
WORKDIR /app
COPY *.mjs pipeline.yaml ./
USER ${USER}:${USER}
ENV NODE_ENV=production
EXPOSE 8080
ENTRYPOINT ["/nodejs/bin/node", "/app/index.mjs"]
CMD ["run"]
`;

export const DOCKERIGNORE = `*\n!*.mjs\n!pipeline.yaml\n`;

/** What a container is told besides its pipeline. */
export const environmentOf = ({ variables, deploy }: Deployment): { name: string; value: string }[] => [
  { name: 'ISTHMUS_MEMORY_SIZE', value: String(deploy.memorySize) },
  { name: 'ISTHMUS_GRACE', value: String(STOP_SECONDS - 10) },
  ...Object.entries(variables).map(([name, value]) => ({ name, value })),
];
