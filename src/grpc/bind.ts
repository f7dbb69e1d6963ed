/**
 * Services as plain async functions: messages in, messages out, StatusError for whatever goes wrong. The guard runs before any handler.
 */
import type {
  handleUnaryCall,
  Metadata,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { systemClock } from "#clock/clock.ts";
import type { Log } from "#log/log.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { Caller, Callers } from "./caller.ts";
import { type Encoded, orEncoded } from "./encoded.ts";
import { toServiceError } from "./status.ts";

export interface CallContext {
  /** `/package.Service/Method` */
  readonly method: string;
  readonly caller: Caller;
  readonly metadata: Metadata;
  /** Aborted when the call is cancelled, its deadline passes or its connection closes. */
  readonly signal: AbortSignal;
  /** What a guard found out, for the handler. */
  readonly values: Map<symbol | string, unknown>;
}

interface MethodShape {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestDeserialize: (bytes: Buffer) => unknown;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
}

type RequestOf<M extends MethodShape> = ReturnType<M["requestDeserialize"]>;
type ResponseOf<M extends MethodShape> = ReturnType<M["responseDeserialize"]> | Encoded;
type Send<M extends MethodShape> = (response: ResponseOf<M>) => Promise<void>;

/** The function that serves a method, by the method's kind. */
export type Handler<M extends MethodShape> = M["requestStream"] extends true
  ? (requests: AsyncIterable<RequestOf<M>>, context: CallContext, send: Send<M>) => Promise<void>
  : M["responseStream"] extends true
    ? (request: RequestOf<M>, context: CallContext, send: Send<M>) => Promise<void>
    : (request: RequestOf<M>, context: CallContext) => Promise<ResponseOf<M>>;

type Definition = Readonly<Record<string, MethodShape>>;
export type Handlers<D extends Definition> = { readonly [K in keyof D]?: Handler<D[K]> };

export interface BindOptions {
  /** Runs first, for each call; throws to refuse it. */
  readonly guard?: (context: CallContext) => Promise<void>;
  readonly log: Log;
}

/** Told of every call that a listener takes, be it refused or not. */
export interface CallObserver {
  /** @param method as on the wire, `/package.Service/Method` */
  started?(method: string): void;
  /** @param error undefined when all went well @param elapsedMs from the call's start */
  ended(method: string, error: unknown, elapsedMs: number): void;
}

/** A service ready for a listener. */
export interface BoundService {
  readonly definition: ServiceDefinition;
  implement(callers: Callers, observer?: CallObserver): UntypedServiceImplementation;
}

/** Binds handlers to a generated service definition. A method without a handler answers UNIMPLEMENTED. */
export function bindService<D extends Definition>(
  definition: D,
  handlers: Handlers<D>,
  options: BindOptions,
): BoundService {
  return {
    definition: takingEncoded(definition),
    implement: (callers, observer) => {
      const implementation: UntypedServiceImplementation = {};
      for (const [name, method] of Object.entries(definition)) {
        const handler = handlers[name] as AnyHandler | undefined;
        if (handler !== undefined) {
          implementation[name] = serve(method, handler, { ...options, callers, observer });
        }
      }
      return implementation;
    },
  };
}

/** ts-proto writes the definition with exact message types; grpc-js takes any. */
function takingEncoded(definition: Definition): ServiceDefinition {
  const methods = Object.entries(definition as unknown as ServiceDefinition);
  return Object.fromEntries(
    methods.map(([name, method]) => [
      name,
      { ...method, responseSerialize: orEncoded(method.responseSerialize) },
    ]),
  );
}

type AnyCall = ServerUnaryCall<unknown, unknown> &
  ServerWritableStream<unknown, unknown> &
  ServerReadableStream<unknown, unknown> &
  ServerDuplexStream<unknown, unknown>;
type AnyHandler = (
  input: unknown,
  context: CallContext,
  send: (response: unknown) => Promise<void>,
) => Promise<unknown>;
type AnyServe = (call: AnyCall, callback: Parameters<handleUnaryCall<unknown, unknown>>[1]) => void;

interface ServeOptions extends BindOptions {
  readonly callers: Callers;
  readonly observer: CallObserver | undefined;
}

function serve(
  method: MethodShape,
  handler: AnyHandler,
  { callers, observer, ...options }: ServeOptions,
): UntypedServiceImplementation[string] {
  const run = async (call: AnyCall): Promise<unknown> => {
    if (observer === undefined) return await answer(call);
    const startedMs = systemClock.monotonicMs();
    observer.started?.(method.path);
    const end = (error: unknown): void =>
      observer.ended(method.path, error, systemClock.monotonicMs() - startedMs);
    try {
      const response = await answer(call);
      end(undefined);
      return response;
    } catch (error) {
      end(error);
      throw error;
    }
  };
  const answer = async (call: AnyCall): Promise<unknown> => {
    const context = contextOf(method, call, callers);
    await options.guard?.(context);
    const requests = method.requestStream ? requestsOf(call) : call.request;
    return handler(requests, context, (response) => write(call, response));
  };
  const refuse = (error: unknown): ReturnType<typeof toServiceError> => {
    if (!(error instanceof StatusError)) {
      options.log.error("A call failed unexpectedly", { method: method.path, error });
    }
    return toServiceError(error);
  };
  const unary: AnyServe = (call, callback) => {
    run(call).then(
      (response) => callback(null, response),
      (error: unknown) => callback(refuse(error)),
    );
  };
  const stream: AnyServe = (call) => {
    // A stream that breaks off is the caller's affair; without a listener it would end the process.
    call.on("error", () => {});
    run(call).then(
      () => call.end(),
      (error: unknown) => call.emit("error", refuse(error)),
    );
  };
  return (method.responseStream
    ? stream
    : unary) as unknown as UntypedServiceImplementation[string];
}

/** @throws StatusError CANCELLED when the caller leaves without having ended its side: that is no failure of ours */
async function* requestsOf(call: AnyCall): AsyncGenerator<unknown> {
  try {
    // The default iterator would destroy the whole stream when the caller half-closes, before the status is sent.
    yield* call.iterator({ destroyOnReturn: false });
  } catch (error) {
    throw new StatusError(StatusCode.CANCELLED, "the caller is gone", { cause: error });
  }
}

function contextOf(method: MethodShape, call: AnyCall, callers: Callers): CallContext {
  const gone = new AbortController();
  call.on("cancelled", () => gone.abort());
  if (method.responseStream) {
    call.on("close", () => gone.abort());
    call.on("finish", () => gone.abort());
  }
  return {
    method: method.path,
    caller: callers.of(call),
    metadata: call.metadata,
    signal: gone.signal,
    values: new Map(),
  };
}

/** Sends one message, waiting while the caller is slower than we are: until the message has left for the network. */
function write(call: AnyCall, response: unknown): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const gone = (): void => reject(new StatusError(StatusCode.CANCELLED, "the caller is gone"));
  if (call.cancelled || call.destroyed) {
    gone();
    return promise;
  }
  // Of a call that is cancelled meanwhile, grpc-js drops the message without a word.
  call.once("cancelled", gone);
  call.write(response, (error?: Error | null) => {
    call.off("cancelled", gone);
    if (error) gone();
    else resolve();
  });
  return promise;
}
