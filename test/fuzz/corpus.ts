/** Seeds and runs that once failed, and why; they are run in every check. */
export const corpus: readonly { readonly seed: number; readonly run: number; readonly found: string }[] = [];
