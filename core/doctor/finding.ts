import type { BrokerError } from '../api/errors.ts';
import { type AuthStep, STEPS, type StepName } from '../auth/steps.ts';

/** What the doctor found at one step. */
export interface Finding {
  readonly step: StepName;
  /** The identity, source or sink that it is about; absent for the process as a whole. */
  readonly about?: string;
  readonly verdict: 'pass' | 'warn' | 'fail' | 'skip';
  /** The evidence; holds no secret. */
  readonly detail: string;
  /** One instruction, with the user's own names in it. */
  readonly fix?: string;
  /** What `doctor --explain` takes. */
  readonly id?: string;
}

export const found = (
  step: StepName,
  verdict: Finding['verdict'],
  detail: string,
  more: Partial<Finding> = {},
): Finding => ({
  step,
  verdict,
  detail,
  ...more,
});

export const failed = (step: StepName, error: BrokerError, about?: string): Finding => ({
  step,
  verdict: 'fail',
  detail: error.message,
  fix: error.hint,
  id: error.id ?? error.code,
  ...(about === undefined ? {} : { about }),
});

/** The exit code of each class of failure; 0 is a clean bill, warnings included. 2 is that of an invalid pipeline. */
export const DOCTOR_EXIT: Readonly<Record<StepName, number>> = {
  runtime: 10,
  config: 2,
  'aws-source': 11,
  'aws-identity': 12,
  'subject-token': 13,
  'google-sts': 14,
  impersonation: 15,
  downscoping: 16,
  'google-identity': 17,
  'google-to-aws': 18,
  source: 19,
  sink: 20,
  state: 21,
};

export const DOCTOR_EXIT_HELP = `Exit codes: 0 nothing failed; ${STEPS.map((step) => `${DOCTOR_EXIT[step]} ${step}`).join(', ')}.`;

/** That of the first step that failed, in the order of the chain: what fails later follows from it. */
export function doctorExit(findings: readonly Finding[]): number {
  const first = STEPS.find((step) => findings.some((finding) => finding.step === step && finding.verdict === 'fail'));
  return first === undefined ? 0 : DOCTOR_EXIT[first];
}

export const passed = ({ step, detail }: AuthStep, about: string): Finding => found(step, 'pass', detail, { about });
