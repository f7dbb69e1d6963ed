/**
 * What stands before the handlers of a listener. Whether a call is let in is decided upon its headers: until then nothing of its request is
 * read, inflated or decoded, and HTTP/2's flow control has the caller wait with it. A caller that is turned away gets one answer.
 */
import type { ServerHttp2Stream } from "node:http2";
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { systemClock } from "#clock/clock.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { Admitted, BoundMethod, BoundService, CallContext, CallObserver } from "./bind.ts";
import type { Callers } from "./caller.ts";
import { ReceiveBudget } from "./receive-budget.ts";
import { endWhenAnswered, Receiving } from "./receiving.ts";

const MIB = 1024 * 1024;
/** Of requests that are not whole yet. */
const OF_STRANGERS = { total: 64 * MIB, source: 4 * MIB };
const OF_KNOWN = { total: 256 * MIB, source: 32 * MIB };

export interface DoorsOptions {
  readonly callers: Callers;
  readonly observer: CallObserver | undefined;
  /** Milliseconds that a message of a caller may take to arrive. */
  readonly requestMs: number;
}

export class Doors {
  readonly #options: DoorsOptions;
  readonly #methods = new Map<string, BoundMethod>();
  readonly #admitted = new WeakMap<Metadata, () => Admitted>();
  readonly #ofStrangers = new ReceiveBudget(OF_STRANGERS);
  readonly #ofKnown = new ReceiveBudget(OF_KNOWN);
  readonly interceptor: ServerInterceptor = ({ path }, call) => this.#intercept(path, call);

  constructor(options: DoorsOptions) {
    this.#options = options;
  }

  /** Opens a door for each method of the service. */
  open({ methods }: BoundService): UntypedServiceImplementation {
    for (const method of methods) this.#methods.set(method.path, method);
    return Object.fromEntries(
      methods.map((method) => [method.name, method.serve((metadata) => this.#take(metadata))]),
    );
  }

  #take(metadata: Metadata): Admitted {
    const admitted = this.#admitted.get(metadata);
    if (admitted === undefined) throw new Error("a call came past the door");
    return admitted();
  }

  #intercept(path: string, call: ServerInterceptingCallInterface): ServerInterceptingCall {
    const stream = endWhenAnswered(call);
    const method = this.#methods.get(path);
    return method === undefined ? notServed(path, call) : this.#ask(method, call, stream);
  }

  #ask(
    method: BoundMethod,
    call: ServerInterceptingCallInterface,
    stream: ServerHttp2Stream,
  ): ServerInterceptingCall {
    const gone = new AbortController();
    const tell = this.#watch(method.path);
    let receiving: Receiving | undefined;
    let isServed = false;
    let isWorkedOn = true;
    /** Takes the call from the count of its user. */
    let discount: (() => void) | undefined;
    const look = (): void => {
      if (isWorkedOn || !stream.closed) return;
      discount?.();
      discount = undefined;
    };
    const ended = (error: unknown): void => {
      tell(error);
      isWorkedOn = false;
      look();
    };
    stream.once("close", () => {
      // Whatever ended it before there was a handler: the caller, or grpc-js itself.
      if (!isServed) ended(GONE);
      look();
    });
    const admit = async (metadata: Metadata, letIn: (metadata: Metadata) => void) => {
      if (!isWorkedOn) return;
      try {
        const context = this.#context(method, call, metadata, gone.signal);
        if (context.caller.kind === "unix") discount = context.caller.share.call();
        await method.guard(context);
        if (!isWorkedOn) return;
        const allowance = method.allowance(context);
        this.#admitted.set(metadata, () => {
          isServed = true;
          return { context, allowance, ended };
        });
        receiving = new Receiving(call, {
          ...allowance,
          budget: allowance.isKnown ? this.#ofKnown : this.#ofStrangers,
          isSingle: !method.requestStream,
          patienceMs: this.#options.requestMs,
          late: () => call.sendStatus(LATE),
        });
        if (!method.requestStream) receiving.expect();
        letIn(metadata);
      } catch (error) {
        ended(error);
        call.sendStatus(method.refusal(error));
      }
    };
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, letIn) => void admit(metadata, letIn),
          onReceiveMessage: (message, pass) => {
            receiving?.taken();
            pass(message);
          },
          onReceiveHalfClose: (pass) => {
            receiving?.over();
            pass();
          },
          onCancel: () => {
            gone.abort();
            receiving?.over();
          },
        }),
    });
  }

  #context(
    { path }: BoundMethod,
    call: ServerInterceptingCallInterface,
    metadata: Metadata,
    signal: AbortSignal,
  ): CallContext {
    const caller = this.#options.callers.of(call);
    return { method: path, caller, metadata, signal, values: new Map() };
  }

  /** Tells the observer that a call began. @returns what tells it, once, how the call ended */
  #watch(path: string): (error: unknown) => void {
    const { observer } = this.#options;
    if (observer === undefined) return () => {};
    const startedMs = systemClock.monotonicMs();
    observer.started?.(path);
    let isOver = false;
    return (error) => {
      if (!isOver) observer.ended(path, error, systemClock.monotonicMs() - startedMs);
      isOver = true;
    };
  }
}

const GONE = new StatusError(StatusCode.CANCELLED, "the caller is gone");
const LATE = {
  code: StatusCode.DEADLINE_EXCEEDED,
  details: "the request did not come in time",
};

/** Of a service that is there, a method that is not: said at once, whatever the request is. */
function notServed(path: string, call: ServerInterceptingCallInterface): ServerInterceptingCall {
  const status = {
    code: StatusCode.UNIMPLEMENTED,
    details: `The server does not implement the method ${path}`,
  };
  return new ServerInterceptingCall(call, {
    start: (next) => next({ onReceiveMetadata: () => call.sendStatus(status) }),
  });
}
