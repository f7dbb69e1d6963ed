/**
 * What stands before the handlers of a listener. Whether a call is let in is decided upon its headers: until then nothing of its request is
 * read, inflated or decoded, and HTTP/2's flow control has the caller wait with it. A caller that is turned away gets one answer.
 */
import type { ServerHttp2Stream } from "node:http2";
import type {
  Metadata,
  ServerInterceptingCall,
  ServerInterceptingCallInterface,
  ServerInterceptor,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import type { InterceptingServerListener } from "@grpc/grpc-js/build/src/server-interceptors";
import { systemClock } from "#clock/clock.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type {
  Admitted,
  Allowance,
  BoundMethod,
  BoundService,
  CallContext,
  CallObserver,
} from "./bind.ts";
import type { Callers } from "./caller.ts";
import { PlainCall } from "./plain-call.ts";
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
  readonly #parts: DoorsParts;
  readonly interceptor: ServerInterceptor = ({ path }, call) => this.#intercept(path, call);

  constructor(options: DoorsOptions) {
    const { callers, requestMs } = options;
    this.#options = options;
    this.#parts = {
      callers,
      requestMs,
      ofStrangers: new ReceiveBudget(OF_STRANGERS),
      ofKnown: new ReceiveBudget(OF_KNOWN),
      admitted: new WeakMap(),
    };
  }

  /** Opens a door for each method of the service. */
  open({ methods }: BoundService): UntypedServiceImplementation {
    for (const method of methods) this.#methods.set(method.path, method);
    return Object.fromEntries(
      methods.map((method) => [method.name, method.serve((metadata) => this.#take(metadata))]),
    );
  }

  #take(metadata: Metadata): Admitted {
    const admitted = this.#parts.admitted.get(metadata);
    if (admitted === undefined) throw new Error("a call came past the door");
    return admitted.serve();
  }

  #intercept(path: string, call: ServerInterceptingCallInterface): ServerInterceptingCall {
    const stream = endWhenAnswered(call);
    const method = this.#methods.get(path);
    return method === undefined
      ? new UnservedCall(path, call)
      : new GuardedCall({ method, call, stream, tell: this.#watch(path), doors: this.#parts });
  }

  /** Tells the observer that a call began. @returns what tells it, once, how the call ended */
  #watch(path: string): ((error: unknown) => void) | undefined {
    const { observer } = this.#options;
    if (observer === undefined) return undefined;
    const startedMs = systemClock.monotonicMs();
    observer.started?.(path);
    let isOver = false;
    return (error) => {
      if (!isOver) observer.ended(path, error, systemClock.monotonicMs() - startedMs);
      isOver = true;
    };
  }
}

/** What the calls of a listener share. */
interface DoorsParts {
  readonly callers: Callers;
  readonly requestMs: number;
  readonly ofStrangers: ReceiveBudget;
  readonly ofKnown: ReceiveBudget;
  /** For the handler, which gets to see the metadata and nothing else of ours. */
  readonly admitted: WeakMap<Metadata, GuardedCall>;
}

interface GuardedCallParts {
  readonly method: BoundMethod;
  readonly call: ServerInterceptingCallInterface;
  readonly stream: ServerHttp2Stream;
  readonly tell: ((error: unknown) => void) | undefined;
  readonly doors: DoorsParts;
}

/**
 * A call of grpc-js as its handler sees it. What it sends passes as it is; what it receives passes once it is let in. It is its own
 * listener, and has no closures: there are thousands a second.
 */
class GuardedCall extends PlainCall implements InterceptingServerListener {
  readonly #parts: GuardedCallParts;
  readonly #gone = new AbortController();
  #next: InterceptingServerListener | undefined;
  #receiving: Receiving | undefined;
  #let: { readonly context: CallContext; readonly allowance: Allowance } | undefined;
  #isServed = false;
  #isWorkedOn = true;
  #isCancelled = false;
  /** Takes the call from the count of its user. */
  #discount: (() => void) | undefined;

  constructor(parts: GuardedCallParts) {
    super(parts.call);
    this.#parts = parts;
  }

  override start(listener: InterceptingServerListener): void {
    this.#next = listener;
    const { call, stream } = this.#parts;
    stream.once("close", () => this.#closed());
    call.start(this);
  }

  /** For the handler, once. */
  serve(): Admitted {
    if (this.#let === undefined) throw new Error("a call came past the door");
    this.#isServed = true;
    return { ...this.#let, ended: (error) => this.#ended(error) };
  }

  onReceiveMetadata(metadata: Metadata): void {
    void this.#admit(metadata);
  }

  onReceiveMessage(message: unknown): void {
    if (this.#isCancelled) return;
    this.#receiving?.taken();
    this.#next?.onReceiveMessage(message);
  }

  onReceiveHalfClose(): void {
    if (this.#isCancelled) return;
    this.#receiving?.over();
    this.#next?.onReceiveHalfClose();
  }

  onCancel(): void {
    this.#isCancelled = true;
    // Told of calls that went well, too; then nobody listens any more.
    if (this.#isWorkedOn) this.#gone.abort();
    this.#receiving?.over();
    this.#next?.onCancel();
  }

  async #admit(metadata: Metadata): Promise<void> {
    const { method, call, stream, doors } = this.#parts;
    if (!this.#isWorkedOn) return;
    try {
      const caller = doors.callers.of(stream.session);
      const { signal } = this.#gone;
      const context = { method: method.path, caller, metadata, signal, values: new Map() };
      if (caller.kind === "unix") this.#discount = caller.share.call();
      await method.guard(context);
      if (!this.#isWorkedOn) return;
      const allowance = method.allowance(context);
      this.#let = { context, allowance };
      doors.admitted.set(metadata, this);
      this.#receiving = new Receiving(call, {
        allowance,
        budget: allowance.isKnown ? doors.ofKnown : doors.ofStrangers,
        isSingle: !method.requestStream,
        timeoutMs: doors.requestMs,
        late: () => call.sendStatus(LATE),
      });
      if (!method.requestStream) this.#receiving.expect();
      if (!this.#isCancelled) this.#next?.onReceiveMetadata(metadata);
    } catch (error) {
      this.#ended(error);
      call.sendStatus(method.refusal(error));
    }
  }

  #ended(error: unknown): void {
    this.#parts.tell?.(error);
    this.#isWorkedOn = false;
    this.#look();
  }

  #closed(): void {
    // Whatever ended it before there was a handler: the caller, or grpc-js itself.
    if (!this.#isServed) this.#ended(GONE);
    this.#look();
  }

  #look(): void {
    if (this.#isWorkedOn || !this.#parts.stream.closed) return;
    this.#discount?.();
    this.#discount = undefined;
  }
}

const GONE = new StatusError(StatusCode.CANCELLED, "the caller is gone");
const LATE = {
  code: StatusCode.DEADLINE_EXCEEDED,
  details: "the request did not come in time",
};

/** Of a service that is there, a method that is not: said at once, whatever the request is. */
class UnservedCall extends PlainCall implements InterceptingServerListener {
  readonly #path: string;
  readonly #call: ServerInterceptingCallInterface;

  constructor(path: string, call: ServerInterceptingCallInterface) {
    super(call);
    this.#path = path;
    this.#call = call;
  }

  override start(): void {
    this.#call.start(this);
  }

  onReceiveMetadata(): void {
    const details = `The server does not implement the method ${this.#path}`;
    this.#call.sendStatus({ code: StatusCode.UNIMPLEMENTED, details });
  }

  onReceiveMessage(): void {}
  onReceiveHalfClose(): void {}
  onCancel(): void {}
}
