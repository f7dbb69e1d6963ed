/** A workload that follows its X509-SVIDs at an agent that comes and goes. */
import { createPrivateKey } from "node:crypto";
import { Metadata } from "@grpc/grpc-js";
import { readStream, unixChannel } from "#grpc/client.ts";
import { SpiffeWorkloadAPIClient, type X509SVIDResponse } from "#proto/spiffe/workload/workload.ts";
import { Certificate } from "#x509/certificate.ts";
import { splitCertificates } from "#x509/der.ts";
import { signerFromPrivateKey } from "#x509/keys.ts";
import { verifyX509Svid } from "#x509/svid.ts";

const PAUSE_MS = 2;

export class WorkloadStream {
  /** What was served and is no SVID. */
  readonly problems: string[] = [];
  readonly #socket: string;
  readonly #onServed: (paths: readonly string[]) => void;
  readonly #over: AbortController = new AbortController();
  readonly #ended: Promise<void>;

  /** @param onServed called with the paths of the SPIFFE IDs of each response */
  constructor(socket: string, onServed: (paths: readonly string[]) => void) {
    this.#socket = socket;
    this.#onServed = onServed;
    this.#ended = this.#run();
  }

  async stop(): Promise<void> {
    this.#over.abort();
    await this.#ended;
  }

  async #run(): Promise<void> {
    while (!this.#over.signal.aborted) {
      await this.#follow();
      await Bun.sleep(PAUSE_MS);
    }
  }

  #serve({ svids }: X509SVIDResponse): void {
    try {
      this.#onServed(svids.map(pathOf));
    } catch (error) {
      this.problems.push(String(error));
    }
  }

  /** To the end of one stream: the agent was killed, is not there yet, or has no SVID for this workload. */
  async #follow(): Promise<void> {
    const { address, credentials, options } = unixChannel(this.#socket);
    const client = new SpiffeWorkloadAPIClient(address, credentials, options);
    const metadata = new Metadata();
    metadata.set("workload.spiffe.io", "true");
    try {
      const call = client.fetchX509Svid({}, metadata);
      for await (const response of readStream<X509SVIDResponse>(call, this.#over.signal)) {
        this.#serve(response);
      }
    } catch {
      // What is served counts, not what is refused.
    } finally {
      client.close();
    }
  }
}

/** @throws Error when certificate, key, bundle and SPIFFE ID do not belong together */
function pathOf(svid: X509SVIDResponse["svids"][number]): string {
  const roots = splitCertificates(svid.bundle).map((der) => Certificate.parse(der));
  const now = Math.floor(Date.now() / 1000);
  const { id, leaf } = verifyX509Svid(splitCertificates(svid.x509Svid), () => roots, now);
  const key = createPrivateKey({
    key: Buffer.from(svid.x509SvidKey),
    format: "der",
    type: "pkcs8",
  });
  const { publicKeySpki } = signerFromPrivateKey(key);
  if (Buffer.compare(publicKeySpki, leaf.publicKeySpki) !== 0 || id.toString() !== svid.spiffeId) {
    throw new Error(`what is served as ${svid.spiffeId} is for ${id}, or has another key`);
  }
  return id.path;
}
