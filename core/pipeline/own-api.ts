import * as nodeModule from 'node:module';

const API = import.meta.resolve(`../api/index${import.meta.filename.endsWith('.ts') ? '.ts' : '.js'}`);
let registered = false;

/**
 * Lets a plugin beside a pipeline import `isthmus` where it is not installed, as with a global `npm install`: the
 * running one is given. A copy that is installed beside the plugin is taken as it is, and its contract compared.
 *
 * Source: https://nodejs.org/api/module.html#moduleregisterhooksoptions (from 22.15 on)
 */
export function offerOwnApi(): void {
  if (registered || nodeModule.registerHooks === undefined) return;
  registered = true;
  nodeModule.registerHooks({
    resolve(specifier, context, next) {
      try {
        return next(specifier, context);
      } catch (error) {
        if (specifier === 'isthmus') return { url: API, shortCircuit: true };
        throw error;
      }
    },
  });
}
