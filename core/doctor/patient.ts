import type { AuthRuntime } from '../auth/aws-identity.ts';
import type { IdentityBroker } from '../auth/broker.ts';
import type { AuthStep } from '../auth/steps.ts';
import { type Finding, passed } from './finding.ts';

/** What the doctor examines: the very broker that a run would use, and what it tells while it works. */
export interface Patient {
  readonly broker: IdentityBroker;
  readonly runtime: AuthRuntime;
  readonly signal: AbortSignal;
  /** The steps that went well since this was asked last, as findings about someone. */
  readonly steps: (about: string) => readonly Finding[];
}

/** Collects the steps of the chain, to be told of by whoever examines. */
export class StepLog {
  #steps: AuthStep[] = [];

  readonly observe = (step: AuthStep): void => {
    this.#steps.push(step);
  };

  readonly take = (about: string): readonly Finding[] => {
    const steps = this.#steps;
    this.#steps = [];
    return steps.map((step) => passed(step, about));
  };
}
