import { errorText } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";

interface Configuration {
  readonly trustDomain: TrustDomain;
  readonly warnings: readonly string[];
}

/**
 * Reads a configuration, and finds what `validate` finds.
 *
 * @param program the executable's name
 * @param load throws an Error with a line for each problem
 * @returns the configuration too, if it is valid
 */
export async function examineConfiguration<Config extends Configuration>(
  program: string,
  load: () => Promise<Config>,
): Promise<{ readonly config?: Config; readonly findings: readonly Finding[] }> {
  const check = "configuration";
  try {
    const config = await load();
    const advice = "see docs/CONFIGURATION.md for what the key does";
    return {
      config,
      findings: [
        ok(check, `valid, for trust domain ${config.trustDomain.name}`),
        ...config.warnings.map((warning) => warn(check, warning, advice)),
      ],
    };
  } catch (error) {
    const problems = errorText(error).split("\n");
    const advice = `correct it; ${program} validate checks it again`;
    return { findings: problems.map((problem) => fail(check, problem, advice)) };
  }
}
