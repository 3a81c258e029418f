import { STEPS } from '../auth/steps.ts';
import type { Finding } from './finding.ts';

const STEP_WIDTH = Math.max(...STEPS.map((step) => step.length));

/** A finding for people: one line, and what to do below it. */
export function lines({ verdict, step, about, detail, fix, id }: Finding): string[] {
  const indent = ' '.repeat(STEP_WIDTH + 8);
  const first = `${verdict.toUpperCase().padEnd(4)}  ${step.padEnd(STEP_WIDTH)}  ${about === undefined ? '' : `${about}: `}${detail}`;
  if (verdict !== 'fail' && verdict !== 'warn') return [first];
  return [
    first,
    ...(fix === undefined ? [] : [`${indent}fix: ${fix}`]),
    ...(id === undefined ? [] : [`${indent}more: isthmus doctor --explain ${id}`]),
  ];
}

/** The last words. */
export function verdict(findings: readonly Finding[], code: number, offline: boolean): string[] {
  const count = (wanted: Finding['verdict']): number => findings.filter((finding) => finding.verdict === wanted).length;
  const warned = count('warn');
  const warnings = `${warned} warning${warned === 1 ? '' : 's'}`;
  const sum = `${count('pass')} passed, ${warnings}, ${count('fail')} failed, ${count('skip')} skipped`;
  // Credentials, and what either cloud thinks of them, were not tried.
  const good = offline ? 'Nothing is wrong as far as can be told offline' : 'Healthy';
  return ['', code === 0 ? `${good}: ${sum}` : `Not healthy: ${sum} (exit code ${code})`];
}
