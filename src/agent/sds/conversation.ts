/**
 * The state of one stream: which request counts, which response it answers, and whether there is anything to say. Of the xDS protocol's
 * rules it keeps those of the reference: a request that answers an older response than the last is ignored; a new version is sent when
 * the workload's state has changed, or when other names are asked for.
 */

import type { Log } from "#log/log.ts";
import type { Node } from "#proto/envoy/config/core/v3/core.ts";
import type { DiscoveryRequest } from "#proto/envoy/service/discovery/v3/discovery.ts";

const MAX_LOGGED = 1024;

/** What to answer. */
export interface Answer<S> {
  readonly request: DiscoveryRequest;
  readonly node: Node | undefined;
  readonly state: S;
  readonly versionInfo: string;
}

export class Conversation<S> {
  readonly #log: Log;
  #version = 0;
  #lastNonce = "";
  #node: Node | undefined;
  #request: DiscoveryRequest | undefined;
  #state: S | undefined;
  /** Whether the client waits for an answer to its request. */
  #isOwed = false;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Takes a request, if it is no answer to something long replaced. */
  hear(request: DiscoveryRequest): void {
    this.#logProblem(request);
    if (this.#lastNonce !== "" && request.responseNonce !== this.#lastNonce) {
      this.#log.warn("Received unexpected nonce; ignoring request", {
        nonce: shortened(request.responseNonce),
        expect: this.#lastNonce,
      });
      return;
    }
    // Only the first request of a stream must describe the node.
    this.#node = request.node ?? this.#node;
    const known = new Set(this.#request?.resourceNames);
    const isOther =
      this.#request?.resourceNames.length !== request.resourceNames.length ||
      request.resourceNames.some((name) => !known.has(name));
    this.#request = request;
    this.#isOwed ||= isOther;
  }

  /** @param state what the workload is now; undefined as long as that cannot be said */
  see(state: S | undefined): void {
    if (state === undefined || state === this.#state) return;
    this.#state = state;
    this.#version++;
    this.#isOwed = true;
  }

  /** What is to be sent now, if anything. @param nonce of the response, if there is one */
  next(nonce: string): Answer<S> | undefined {
    const [request, state] = [this.#request, this.#state];
    if (!this.#isOwed || request === undefined || state === undefined) return undefined;
    this.#isOwed = false;
    this.#lastNonce = nonce;
    return { request, node: this.#node, state, versionInfo: String(this.#version) };
  }

  #logProblem({ errorDetail, resourceNames, versionInfo, node = this.#node }: DiscoveryRequest) {
    const fields = {
      resource_names: shortened(resourceNames.join()),
      node: node && shortened(node.id),
    };
    if (errorDetail !== undefined) {
      const { message } = errorDetail;
      this.#log.error("Envoy reported errors applying secrets", {
        ...fields,
        error: shortened(message),
      });
    } else if (this.#lastNonce !== "" && versionInfo !== String(this.#version)) {
      this.#log.error("Client rejected expected version and rolled back", {
        ...fields,
        version_info: shortened(versionInfo),
        expect: String(this.#version),
      });
    }
  }
}

/** Of what a client may make as long as it likes, as much as a log needs. */
function shortened(text: string): string {
  return text.length > MAX_LOGGED ? `${text.slice(0, MAX_LOGGED)}…` : text;
}
