import { emfMeter } from '../core/runtime/lambda/emf.ts';
import { type LambdaHandler, lambdaHandler } from '../core/runtime/lambda/handler.ts';
import { logFields } from '../core/runtime/logger.ts';
import { type Packaged, type ProcessParts, packaged } from './packaged.ts';

/** The handler of a Lambda function that carries one packaged pipeline. */
export function lambda(given: Packaged, parts?: ProcessParts): LambdaHandler {
  const { ready, doctor, log, write, verify, clock, endpoints } = packaged(given, parts);
  const meter = emfMeter(write, () => logFields.getStore()?.requestId?.toString());
  const { lambda: lambdaEndpoint, stepFunctions: stepFunctionsEndpoint } = endpoints;
  const load = () => ready(meter);
  return lambdaHandler({ load, log, verify, clock, lambdaEndpoint, stepFunctionsEndpoint, doctor });
}
