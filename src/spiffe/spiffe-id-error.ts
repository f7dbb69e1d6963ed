/** A text that is not a SPIFFE ID or trust domain. The text is public input, so it is quoted. */
export class SpiffeIdError extends Error {
  override readonly name: string = "SpiffeIdError";
  /** What is wrong, without the value; the reference's clients show this part alone. */
  readonly problem: string;

  constructor(problem: string, value: string) {
    super(`${problem}: ${JSON.stringify(value.slice(0, 300))}`);
    this.problem = problem;
  }
}

/** What is wrong with an ID, without the value, for messages that show the value themselves. */
export function problemText(error: unknown): string {
  if (error instanceof SpiffeIdError) return error.problem;
  return error instanceof Error ? error.message : String(error);
}
